"""Signal 9 at every stage of a run: the next attempt ends with the same adapter, and uses each pair as often as a run that was not killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

from csqa_loop import bootstrap
from csqa_loop.training.run.directory import RunDirectory
from jobs import entry, evaluate_adapter, train_adapter
from tests import kill_at, tiny_model
from tests.tiny_runs import PAIRS, tiny_pair, tiny_run

pytestmark = pytest.mark.fault(18, "training is killed at each stage")
ROOT = Path(__file__).parents[2]
HELD_OUT = [tiny_pair(number, question=f"may it be held out {'xyz'[number - 8] * 9}") for number in (8, 9)]
STEPS = {"in the middle of training": [0, 5, 6, 7, 8, 9], "between a checkpoint and its seal": [0, 5, 6, 7, 8, 9]}
"""What the second attempt makes of the nine; after the last step nothing is made again, and before the first one all."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model.make(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def whole(base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The adapter of a run that nobody killed."""
    return trained(tiny_run(tmp_path_factory.mktemp("whole"), base))


def trained(run: RunDirectory) -> str:
    assert train_adapter.main([str(run.path)]) == 0
    made = run.manifest()
    assert made is not None
    assert [source.pair_id for source in made.pairs] == [pair.pair_id for pair in PAIRS]
    return made.adapter


def killed(point: str, folder: Path, base: str) -> None:
    command = (sys.executable, "-m", "tests.kill_at", point, str(folder), base)
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=200, check=False)
    assert ended.returncode == -signal.SIGKILL


def test_while_it_is_claimed(base: str, whole: str, tmp_path: Path) -> None:
    killed("while it is claimed", tmp_path, base)
    run = RunDirectory.of(tmp_path / "runs", "r-1")
    assert (run.path / "pairs.parquet").exists()
    assert train_adapter.main([str(run.path)]) == entry.BAD_INPUT  # nobody asked for it yet
    assert trained(tiny_run(tmp_path, base)) == whole


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "point",
    [
        "before the first step",
        "in the middle of training",
        "between a checkpoint and its seal",
        "while the adapter is written",
        "before the adapter is in its place",
        "between the adapter and its manifest",
        "while the manifest is written",
    ],
)
def test_while_it_is_trained(base: str, whole: str, tmp_path: Path, point: str) -> None:
    run = tiny_run(tmp_path, base)
    killed(point, tmp_path, base)
    assert run.manifest() is None
    assert trained(run) == whole
    steps = [json.loads(line)["step"] for line in (run.path / "progress.jsonl").read_text().splitlines()]
    assert steps == STEPS.get(point, list(range(10)) if point == "before the first step" else [0])
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == [whole]
    assert not [path.name for path in run.path.iterdir() if path.name in {"checkpoints", "adapter"}]


def test_while_it_is_evaluated(base: str, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny_run(tmp_path, base, holdout=HELD_OUT, model_server_urls=(kill_at.REPLICA,))
    trained(run)
    killed("while it is evaluated", tmp_path, base)
    assert run.evaluation() is None
    monkeypatch.setattr(bootstrap, "build_model_server_at", bootstrap.build_model_server_at)  # put back afterwards
    kill_at.served(run)
    assert evaluate_adapter.main([str(run.path)]) == 0
    evaluation = run.evaluation()
    assert evaluation is not None
    assert evaluation.adapter == whole


def test_a_base_that_changed_in_between_is_named(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changing = tiny_model.make(tmp_path / "base")
    run = tiny_run(tmp_path, changing)
    killed("in the middle of training", tmp_path, changing)
    tiny_model.make(tmp_path / "base", seed=1)
    assert train_adapter.main([str(run.path)]) == entry.FAILED
    assert "checkpoint-4 was trained on a base with the fingerprint" in capsys.readouterr().err
    assert run.manifest() is None
