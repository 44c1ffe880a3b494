"""Child processes: their words, their end, and that none survives its parent."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from csqa_loop.errors import TransientError
from csqa_loop.training.child import ProcessLauncher
from tests.waiting import eventually


def _script(tmp_path: Path, body: str) -> tuple[str, ...]:
    file = tmp_path / "script.py"
    file.write_text(f"import os, subprocess, sys, time\n{body}\n")
    return (sys.executable, str(file))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_the_last_line_of_stderr_is_kept_and_all_of_it_logged(tmp_path: Path) -> None:
    body = "print('first', file=sys.stderr); print('train_adapter: it broke', file=sys.stderr); sys.exit(3)"
    child = await ProcessLauncher(_script(tmp_path, body)).launch("train_adapter", tmp_path)
    assert await asyncio.wait_for(child.wait(), 30) == 3
    assert child.last_words == "train_adapter: it broke"
    assert (tmp_path / "train_adapter.log").read_text() == "first\ntrain_adapter: it broke\n"
    await child.kill()


async def test_job_and_directory_and_options_are_handed_over(tmp_path: Path) -> None:
    launcher = ProcessLauncher(
        _script(tmp_path, "print(sys.argv[1:], file=sys.stderr)"), {"evaluate_adapter": ("--residency-seconds", "9")}
    )
    child = await launcher.launch("evaluate_adapter", tmp_path)
    assert await asyncio.wait_for(child.wait(), 30) == 0
    assert child.last_words == str(["jobs.evaluate_adapter", str(tmp_path), "--residency-seconds", "9"])
    await child.kill()


async def test_killing_ends_the_whole_group(tmp_path: Path) -> None:
    body = "p = subprocess.Popen(['sleep', '600']); print(p.pid, file=sys.stderr, flush=True); time.sleep(600)"
    child = await ProcessLauncher(_script(tmp_path, body)).launch("train_adapter", tmp_path)
    await eventually(lambda: child.last_words.isdigit(), "the grandchild is named", 30)
    grandchild = int(child.last_words)
    assert os.getpgid(grandchild) == child.pid != os.getpgid(0)
    await child.kill()
    await eventually(lambda: not _alive(child.pid) and not _alive(grandchild), "both are gone")


async def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import asyncio, sys\nfrom pathlib import Path\nfrom csqa_loop.training.child import ProcessLauncher\n"
        "async def main():\n"
        f"    child = await ProcessLauncher({_script(tmp_path, 'time.sleep(600)')!r}).launch('train_adapter', Path({str(tmp_path)!r}))\n"
        "    print(child.pid, flush=True)\n    await child.wait()\nasyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(parent), stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    )
    assert process.stdout is not None
    pid = int(await asyncio.wait_for(process.stdout.readline(), 60))
    assert _alive(pid)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await eventually(lambda: not _alive(pid), "the child is gone")


async def test_a_command_that_cannot_start_may_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="train_adapter cannot be started"):
        await ProcessLauncher(("/no/such/python",)).launch("train_adapter", tmp_path)
