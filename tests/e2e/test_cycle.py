"""The loop closes for real: real broker, real vLLM, real training, real customers over HTTP. Small numbers, so that it takes minutes."""

import json
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import duckdb
import psutil
import pytest
import yaml

from csqa_loop.demo.scenario_files import packaged
from csqa_loop.local.base_model import prepare
from csqa_loop.settings import Settings
from tests import vllm
from tests.brokers import free_port

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]
_SECONDS = 1200


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of the harbour shop's questions."""
    folder = tmp_path_factory.mktemp("scenario")
    whole = yaml.safe_load(packaged("harbour-shop/scenario.yaml").read_text(encoding="utf-8"))
    shutil.copytree(packaged("harbour-shop/policies"), folder / "policies")
    trainable = [question for question in whole["questions"] if not question["holdout"]]
    held_out = [question for question in whole["questions"] if question["holdout"]]
    few = whole | {
        "name": "few",
        "questions": trainable[::3] + [q | {"ask": q["ask"][:1]} for q in held_out[::6]],
        "regression": whole["regression"][:3],
    }
    file = folder / "scenario.yaml"
    file.write_text(yaml.safe_dump(few, allow_unicode=True), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ports and a folder of its own, thresholds for minutes. The base model is the one that is converted already."""
    if reason := vllm.why_no_vllm():
        pytest.fail(reason)  # `make setup` installs it: without it an environment is broken, not poorer
    var = tmp_path_factory.mktemp("e2e") / "var"
    var.mkdir()
    shared = Settings(var=vllm.ROOT / "var")
    prepare(shared)
    (var / "models").symlink_to(shared.models, target_is_directory=True)
    small = {
        "CSQA_VAR": str(var),
        "CSQA_KAFKA__EMBEDDED_PORT": str(free_port()), "CSQA_MODEL_SERVER__EMBEDDED_PORT": str(free_port()),
        "CSQA_GATEWAY__PORT": str(free_port()), "CSQA_CONSOLE__PORT": str(free_port()),
        "CSQA_INDEXER__PORT": str(free_port()), "CSQA_TRAINER__PORT": str(free_port()),
        "CSQA_TRIGGER__MIN_PAIRS": "8", "CSQA_TRIGGER__MAX_PAIRS": "8", "CSQA_TRAINING__EPOCHS": "1",
        "CSQA_PREFERENCES__MIN_USERS": "4",
        "CSQA_GATE__PREFERENCE_MARGIN": "1", "CSQA_GATE__REGRESSION_MARGIN": "1",
        "CSQA_EXPERIMENT__BURN_IN_USERS": "20", "CSQA_EXPERIMENT__MAX_USERS": "30", "CSQA_EXPERIMENT__WINDOW_SECONDS": "20",
        "CSQA_EXPERIMENT__HANDOFF_MARGIN": "0.4", "CSQA_EXPERIMENT__ERROR_MARGIN": "0.4",
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CSQA_")}
    return kept | small


class Analyst:
    """Reads the published copy all the time, as another process would."""

    def __init__(self, file: Path) -> None:
        self._file, self._over = file, threading.Event()
        self.reads, self.failures = 0, list[str]()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=30)

    def _read(self) -> None:
        query = "import duckdb,sys; print(duckdb.connect(sys.argv[1], read_only=True).execute('select count(*) from conversations').fetchone()[0])"
        while not self._over.wait(1.0):
            if self._file.exists():
                told = subprocess.run(
                    [sys.executable, "-c", query, str(self._file)], capture_output=True, text=True, timeout=60, check=False
                )
                self.reads += 1
                if told.returncode:
                    self.failures.append(told.stderr[-300:])


def _csqa(environment: dict[str, str], *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "csqa_loop.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)


@pytest.fixture(scope="module")
def played(environment: dict[str, str], scenario: Path) -> Iterator[tuple[subprocess.CompletedProcess[str], Analyst]]:
    with Analyst(Path(environment["CSQA_VAR"]) / "analytics.duckdb") as analyst:
        told = _csqa(environment, "demo", "--scenario", str(scenario), "--keep", "--json", seconds=_SECONDS)
    yield told, analyst
    _csqa(environment, "down")


def test_the_loop_closes(played: tuple[subprocess.CompletedProcess[str], Analyst], environment: dict[str, str]) -> None:
    told, analyst = played
    assert told.stdout, told.stderr[-3000:]
    summary = json.loads(told.stdout)
    (only,) = summary["rounds"]
    assert only["pairs"] == 8
    assert only["first_loss"] == pytest.approx(math.log(2), abs=0.01)
    assert only["gate"]["passed"] is True
    assert only["experiment"]["verdict"] in {"PROMOTE", "ROLL_BACK", "INCONCLUSIVE"}
    promoted = only["experiment"]["verdict"] == "PROMOTE"
    assert (told.returncode == 0) is promoted, told.stderr[-2000:]
    assert (only["champion"]["after"] != "base") is promoted
    if promoted:
        assert summary["final_champion"] in summary["resident_adapters"]
    assert summary["sent"] == summary["recorded"]
    assert summary["recorded"]["dead_letters"] == 0
    assert analyst.reads > 5
    assert analyst.failures == []

    # The services are still up: the ledger keeps its promises, and the log says the same once more.
    accepted = Path(environment["CSQA_VAR"]) / "demo" / "accepted.txt"
    checked = json.loads(_csqa(environment, "ledger", "check", "--accepted", str(accepted), "--json").stdout)
    assert checked["ok"], checked
    live = _csqa(environment, "ledger", "hash").stdout.strip()
    assert live == _csqa(environment, "ledger", "replay").stdout.strip()

    # Every pair leads back to the question, the answer and the report that it came from, and those that were trained on to their run.
    listed = json.loads(_csqa(environment, "pairs", "list", "--json").stdout)
    traces = [json.loads(_csqa(environment, "pairs", "show", pair["pair_id"], "--json").stdout) for pair in listed]
    assert len(traces) >= only["pairs"]
    for trace in traces:
        of_message = trace["pair"]["message_id"]
        told_of = (trace["exposure"], trace["answer"], trace["evidence"])
        assert [event["type"] for event in told_of] == ["ArmExposed", "AnswerGiven", "BadCaseReported"]
        assert {event["body"]["message_id"] for event in told_of} == {of_message}
    assert sum(run["run_id"] == only["run_id"] for trace in traces for run in trace["runs"]) == only["pairs"]

    with duckdb.connect(environment["CSQA_VAR"] + "/analytics.duckdb", read_only=True) as published:
        rows = published.execute(
            "SELECT verdict, estimate FROM experiment_results WHERE metric = 'satisfaction' AND arm = 'difference'"
        ).fetchall()
    assert (only["experiment"]["verdict"], only["experiment"]["estimate"]) in rows


def test_nothing_runs_after_down(played: tuple[subprocess.CompletedProcess[str], Analyst], environment: dict[str, str]) -> None:
    del played
    before = json.loads(_csqa(environment, "status", "--json").stdout)
    pids = [process["pid"] for process in before if process["pid"]]
    assert len(pids) == 6
    children = [child for pid in pids for child in psutil.Process(pid).children(recursive=True)]
    assert _csqa(environment, "down").returncode == 0
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert [child for child in children if child.is_running()] == []
