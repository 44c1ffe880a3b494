"""A run of the tiny model from beginning to end: what it is made of, killed at every stage, made again, asked why."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("trl")

from csqa_loop.cli import app
from csqa_loop.cycle import pedigree
from csqa_loop.cycle.manifest import Manifest, recipe_hash
from csqa_loop.cycle.run_directory import RunConfig, RunDirectory
from csqa_loop.cycle.run_rows import Demonstration, Unpaired, examples_hash
from csqa_loop.domain.errors import CsqaError
from csqa_loop.domain.preferences import Pair
from jobs import entry, train_adapter
from tests import tiny_model
from tests.run_directories import pair, write_run

ROOT = Path(__file__).parents[2]
TRAINING = {"epochs": 3, "learning_rate": 1e-2, "rank": 2, "alpha": 8, "batch_size": 2, "threads": 1, "checkpoint_steps": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model.make(tmp_path_factory.mktemp("base"))


def _pair(number: int, **changes: Any) -> Pair:
    prompt = json.dumps(tiny_model.asked("14 " * number + "?"))
    made = dataclasses.replace(
        pair(number, chosen="within 14 days .", rejected="no ."), prompt=prompt, source="correction", category="returns"
    )
    return dataclasses.replace(made, **changes)


PAIRS = [_pair(number) for number in range(1, 6)]


def _run(folder: Path, base: str, run_id: str = "r-1", *, training: Any = (), **options: Any) -> RunDirectory:
    return write_run(folder / "runs", run_id, **{"pairs": PAIRS, "base_model": base, "training": TRAINING | dict(training)} | options)


def _manifest(run: RunDirectory) -> Manifest:
    made = run.manifest()
    assert made is not None
    return made


def test_a_manifest_tells_everything_that_an_adapter_is_made_of(base: str, tmp_path: Path) -> None:
    run = _run(tmp_path, base, pairs=[*PAIRS[:3], dataclasses.replace(PAIRS[3], weight=0.3, source="judge")], replay=PAIRS[4:])
    assert train_adapter.main([str(run.path)]) == 0
    made = _manifest(run)
    assert (made.method, made.mode, made.parent, made.reason) == ("dpo", "incremental", "base", "enough fresh pairs")
    assert [(source.pair_id, source.weight, source.source) for source in made.pairs][-1] == ("p-4", 0.3, "judge")
    assert [(source.pair_id, source.evidence_event_id) for source in made.replay] == [("p-5", "case-5")]
    assert made.metrics["pairs_used"] == 5
    assert made.chosen["lora"]["r"] == 2
    assert (run.path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not (run.path / "checkpoints").exists()
    assert len(made.base_fingerprint) == 64


def test_an_incremental_run_continues_and_an_anchored_one_starts_afresh(base: str, tmp_path: Path) -> None:
    first = _run(tmp_path, base)
    assert train_adapter.main([str(first.path)]) == 0
    champion = _manifest(first).adapter
    names = {}
    for mode in ("incremental", "anchored"):
        run = _run(tmp_path, base, f"r-{mode}", pairs=PAIRS[:2], replay=PAIRS[2:], champion=champion, training={"mode": mode})
        assert train_adapter.main([str(run.path)]) == 0
        made = _manifest(run)
        assert made.parent == (champion if mode == "incremental" else "base")
        names[mode] = made.adapter
    assert names["incremental"] != champion
    assert [ancestor.manifest.run_id for ancestor in pedigree.lineage(tmp_path / "runs", names["incremental"])] == ["r-incremental", "r-1"]
    # All pairs at once from the base are what the first run was, whatever the champion.
    assert names["anchored"] == champion


def test_what_there_is_chooses_the_method_and_the_mix(base: str, tmp_path: Path) -> None:
    def shown(number: int, category: str) -> Demonstration:
        return Demonstration(
            example_id=f"d-{number}",
            question="q",
            prompt=tiny_model.asked("?"),
            answer="within 14 days .",
            category=category,
            source="import",
        )

    demonstrations = [shown(number, "knowledge" if number < 80 else "dialogue") for number in range(160)]
    mix = {"method": "auto", "sft_mix": {"knowledge": 0.8, "dialogue": 0.2}, "batch_size": 8, "epochs": 1, "checkpoint_steps": 0}
    run = _run(tmp_path, base, demonstrations=demonstrations, training=mix)
    assert train_adapter.main([str(run.path)]) == 0
    made = _manifest(run)
    assert made.method == "sft"
    assert [source.category for source in made.pairs].count("knowledge") == 80
    assert {source.pair_id[:2] for source in made.pairs} == {"d-"}  # pairs were there, and were not trained on

    rated = [
        Unpaired(example_id=f"u-{number}", question="q", prompt=tiny_model.asked("?"), answer="yes .", liked=number % 2 == 0)
        for number in range(8)
    ]
    kto = _run(tmp_path, base, "r-2", unpaired=rated, training={"method": "kto", "batch_size": 4})
    assert train_adapter.main([str(kto.path)]) == 0
    assert len(_manifest(kto).pairs) == len(PAIRS) + 8


def test_too_little_is_bad_input(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = _run(tmp_path, base, training={"method": "auto", "batch_size": 4})
    assert train_adapter.main([str(run.path)]) == entry.BAD_INPUT
    assert "too little to train on by auto: 5 pairs, 0 liked" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["training", "writing", "installing", "recording"])
def test_a_run_that_dies_at_any_stage_makes_the_same_adapter_at_the_next_attempt(
    base: str, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _run(tmp_path / "whole", base)
    assert train_adapter.main([str(whole.path)]) == 0
    run = _run(tmp_path, base)

    def die(*_: Any, **__: Any) -> None:
        raise SystemExit(stage)

    steps: list[int] = []
    real_progress, real_write = RunDirectory.append_progress, RunDirectory.write

    def progress(self: RunDirectory, **fields: Any) -> None:
        if fields["step"] == 5:
            die()
        real_progress(self, **fields)

    def write(self: RunDirectory, name: str, body: bytes) -> None:
        real_write(self, name, body) if name != "manifest.json" else die()

    with monkeypatch.context() as patch:
        if stage == "training":
            patch.setattr(RunDirectory, "append_progress", progress)
        elif stage == "writing":
            patch.setattr("csqa_loop.backends.training.lora.save", die)
        elif stage == "installing":
            patch.setattr(train_adapter, "install", die)
        else:
            patch.setattr(RunDirectory, "write", write)
        with pytest.raises(SystemExit, match=stage):
            train_adapter.main([str(run.path)])
    assert run.manifest() is None
    monkeypatch.setattr(
        RunDirectory, "append_progress", lambda self, **fields: steps.append(fields["step"]) or real_progress(self, **fields)
    )
    assert train_adapter.main([str(run.path)]) == 0
    assert _manifest(run).adapter == _manifest(whole).adapter
    assert steps == ([0, 5, 6, 7, 8, 9] if stage == "training" else [0])  # no step, and so no pair, counts twice
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == [_manifest(run).adapter]


@pytest.mark.timeout(300)
def test_kill_9_in_the_middle_uses_no_pair_twice(base: str, tmp_path: Path) -> None:
    whole = _run(tmp_path / "whole", base, training={"epochs": 30})
    assert train_adapter.main([str(whole.path)]) == 0
    run = _run(tmp_path, base, training={"epochs": 30})
    child = subprocess.Popen(
        (sys.executable, "-m", "jobs.train_adapter", str(run.path)), cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 200
    while run.last_step().step < 20:
        assert child.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline, "it makes no steps"
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=30)
    assert run.manifest() is None
    assert train_adapter.main([str(run.path)]) == 0
    assert _manifest(run).adapter == _manifest(whole).adapter
    lines = [json.loads(line)["step"] for line in (run.path / "progress.jsonl").read_text().splitlines()]
    assert lines[1] >= 18
    assert lines[-1] == 90


@pytest.fixture
def claimed(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A finished run whose hashes are those that the loop would have computed."""
    monkeypatch.setenv("CSQA_VAR", str(tmp_path))
    monkeypatch.setenv("CSQA_CONSOLE__URL", "http://127.0.0.1:9")
    monkeypatch.chdir(ROOT)
    run = _run(tmp_path, base)
    pairs_hash = examples_hash(PAIRS)
    config = RunConfig.model_validate_json((run.path / "config.json").read_bytes())
    body = json.loads((run.path / "request.json").read_text())
    hashes = {"data_hash": pairs_hash, "recipe_hash": recipe_hash(base, "base", pairs_hash, config.training.model_dump_json())}
    (run.path / "request.json").write_text(json.dumps(body | hashes))
    assert train_adapter.main([str(run.path)]) == 0
    return run


@pytest.mark.timeout(300)
def test_a_rebuilt_adapter_has_the_same_recipe_data_and_bytes(claimed: RunDirectory, tmp_path: Path) -> None:
    adapter = _manifest(claimed).adapter
    answer = CliRunner().invoke(app, ["rebuild", adapter, "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert (told["rebuilt"], told["identical"]) == (adapter, True)
    assert {one["name"] for one in told["compared"]} >= {"recipe hash", "data hash", "base fingerprint", "margin_after"}
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == [adapter]


def test_a_rebuild_that_differs_is_told(claimed: RunDirectory, tmp_path: Path) -> None:
    copy = pedigree.copy_for_rebuild(claimed, tmp_path / "rebuilds")
    made = _manifest(claimed)
    other = made.model_copy(
        update={"metrics": made.metrics | {"margin_after": made.metrics["margin_after"] * 1.1}, "base_fingerprint": "f" * 64}
    )
    copy.write("manifest.json", other.model_dump_json().encode())
    assert [one.name for one in pedigree.compare(claimed, copy, 0.01) if not one.same] == ["base fingerprint", "margin_after"]
    assert [one.name for one in pedigree.compare(claimed, copy, 0.2) if not one.same] == ["base fingerprint"]


def test_an_edited_run_directory_is_not_rebuilt(claimed: RunDirectory, tmp_path: Path) -> None:
    (claimed.path / "holdout.parquet").write_bytes((claimed.path / "pairs.parquet").read_bytes())
    with pytest.raises(CsqaError, match=r"holdout\.parquet"):
        pedigree.copy_for_rebuild(claimed, tmp_path / "rebuilds")


def test_why_names_every_event_without_a_loop(claimed: RunDirectory) -> None:
    adapter = _manifest(claimed).adapter
    told = json.loads(CliRunner().invoke(app, ["why", adapter, "--json"]).stdout)
    assert told["lineage"][0]["run_id"] == "r-1"
    assert [(one["pair_id"], one["answer_event_id"], one["evidence_event_id"]) for one in told["pairs"]] == [
        (p.pair_id, p.answer_event_id, p.evidence_event_id) for p in PAIRS
    ]
    shown = CliRunner().invoke(app, ["why", adapter], env={"COLUMNS": "200"}).stdout
    assert "answer answer-3, better case-3" in shown
    assert "from the manifest alone: no loop answers at http://127.0.0.1:9" in shown


def test_why_tells_a_pairs_history_where_a_loop_answers(claimed: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def console(_: object, method: str, path: str) -> dict[str, Any]:
        asked.append(f"{method} {path}")
        return {"pair": {"pair_id": path.rpartition("/")[2]}}

    monkeypatch.setattr("csqa_loop.commands.adapters.ask_console", console)
    told = json.loads(CliRunner().invoke(app, ["why", _manifest(claimed).adapter, "--json", "--pairs", "2"]).stdout)
    assert asked == ["GET /v1/pairs/p-1", "GET /v1/pairs/p-2"]
    assert [one["trace"] is None for one in told["pairs"]] == [False, False, True, True, True]


def test_an_adapter_that_nobody_made_is_named(claimed: RunDirectory) -> None:
    answer = CliRunner().invoke(app, ["why", "a-0000000000000000"])
    assert isinstance(answer.exception, CsqaError)
    assert f"made a-0000000000000000; adapters made there: {_manifest(claimed).adapter}" in str(answer.exception)
