"""A run of the tiny model from beginning to end: what it is made of, made again, asked why."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("trl")

import torch
from safetensors.torch import load_file

from csqa_loop.cli import app
from csqa_loop.errors import CsqaError
from csqa_loop.training import pedigree
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import RunConfig
from csqa_loop.training.run.manifest import Manifest, recipe_hash
from csqa_loop.training.run.rows import Demonstration, Unpaired, examples_hash
from jobs import entry, train_adapter
from tests import tiny_model
from tests.console_answers import PAIR, telling
from tests.tiny_runs import PAIRS, tiny_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model.make(tmp_path_factory.mktemp("base"))


def _manifest(run: RunDirectory) -> Manifest:
    made = run.manifest()
    assert made is not None
    return made


def test_a_manifest_tells_everything_that_an_adapter_is_made_of(base: str, tmp_path: Path) -> None:
    run = tiny_run(tmp_path, base, pairs=[*PAIRS[:3], dataclasses.replace(PAIRS[3], weight=0.3, source="judge")], replay=PAIRS[4:])
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
    first = tiny_run(tmp_path, base)
    assert train_adapter.main([str(first.path)]) == 0
    champion = _manifest(first).adapter
    names = {}
    for mode in ("incremental", "anchored"):
        run = tiny_run(tmp_path, base, f"r-{mode}", pairs=PAIRS[:2], replay=PAIRS[2:], champion=champion, training={"mode": mode})
        assert train_adapter.main([str(run.path)]) == 0
        made = _manifest(run)
        assert made.parent == (champion if mode == "incremental" else "base")
        names[mode] = made.adapter
    assert names["incremental"] != champion
    assert [ancestor.manifest.run_id for ancestor in pedigree.lineage(tmp_path / "runs", names["incremental"])] == ["r-incremental", "r-1"]
    # All pairs at once from the base are what the first run was, whatever the champion.
    assert names["anchored"] == champion


def test_what_there_is_chooses_the_method(base: str, tmp_path: Path) -> None:
    def shown(number: int, category: str) -> Demonstration:
        return Demonstration(
            example_id=f"d-{number}",
            question="q",
            prompt=tiny_model.asked("?"),
            answer="within 14 days .",
            category=category,
            source="import",
        )

    # What the mix leaves out never comes into the folder.
    demonstrations = [shown(number, "knowledge" if number < 80 else "dialogue") for number in range(110)]
    mix = {"method": "auto", "sft_mix": {"knowledge": 0.8, "exceptions": 0.2}, "batch_size": 8, "epochs": 1, "checkpoint_steps": 0}
    run = tiny_run(tmp_path, base, demonstrations=demonstrations, training=mix)
    assert train_adapter.main([str(run.path)]) == 0
    made = _manifest(run)
    assert made.method == "sft"
    assert [source.pair_id for source in made.pairs] == [
        f"d-{number}" for number in range(110)
    ]  # pairs were there, and were not trained on

    rated = [
        Unpaired(example_id=f"u-{number}", question="q", prompt=tiny_model.asked("?"), answer="yes .", liked=number % 2 == 0)
        for number in range(8)
    ]
    kto = tiny_run(tmp_path, base, "r-2", unpaired=rated, training={"method": "kto", "batch_size": 4})
    assert train_adapter.main([str(kto.path)]) == 0
    assert len(_manifest(kto).pairs) == len(PAIRS) + 8


def test_too_little_is_bad_input(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny_run(tmp_path, base, training={"method": "auto", "batch_size": 4})
    assert train_adapter.main([str(run.path)]) == entry.BAD_INPUT
    assert "too little to train on by auto: 5 pairs, 0 liked" in capsys.readouterr().err


@pytest.fixture
def claimed(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A finished run whose hashes are those that the loop would have computed."""
    monkeypatch.setenv("CSQA_VAR", str(tmp_path))
    monkeypatch.setenv("CSQA_CONSOLE__URL", "http://127.0.0.1:9")
    monkeypatch.chdir(ROOT)
    run = tiny_run(tmp_path, base)
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


def test_a_base_that_changed_since_the_request_is_named(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run_id, method in (("r-1", "dpo"), ("r-2", "placebo")):
        run = tiny_run(tmp_path, base, run_id, base_fingerprint="f" * 64, training={"method": method})
        assert train_adapter.main([str(run.path)]) == entry.FAILED
        assert "and the run was requested on ffffffffffffffff: it changed under the same name" in capsys.readouterr().err


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

    def console(path: str) -> dict[str, Any]:
        asked.append(path)
        event = {"event_id": "e-1", "topic": "csqa.chats", "type": "AnswerGiven", "occurred_at": "2026-05-04T00:00:00Z", "body": {}}
        lists: dict[str, list[object]] = {name: [] for name in ("because", "feedback", "bad_cases", "reviews", "blames", "runs")}
        pair = PAIR | {"pair_id": path.rpartition("/")[2]}
        return {"pair": pair, "answer": event, "exposure": None, "evidence": event, "liked_answer": None} | lists

    monkeypatch.setattr("csqa_loop.commands.lineage.ask_console", telling(console))
    told = json.loads(CliRunner().invoke(app, ["why", _manifest(claimed).adapter, "--json", "--pairs", "2"]).stdout)
    assert asked == ["/v1/pairs/p-1", "/v1/pairs/p-2"]
    assert [one["trace"] is None for one in told["pairs"]] == [False, False, True, True, True]


@pytest.mark.parametrize("command", ["why", "rebuild"])
def test_the_base_is_no_adapter(claimed: RunDirectory, command: str) -> None:
    answer = CliRunner().invoke(app, [command, "base"])
    assert isinstance(answer.exception, CsqaError)
    assert f"base is the bare model and no adapter; adapters made in {claimed.path.parent}: {_manifest(claimed).adapter}" in str(
        answer.exception
    )


def test_an_anchored_placebo_answers_like_the_champion(claimed: RunDirectory, base: str, tmp_path: Path) -> None:
    champion = _manifest(claimed).adapter
    run = tiny_run(tmp_path, base, "r-2", champion=champion, training={"mode": "anchored", "method": "placebo"})
    assert train_adapter.main([str(run.path)]) == 0
    made = _manifest(run)
    assert (made.parent, made.method) == (champion, "placebo")
    one, other = (load_file(tmp_path / "adapters" / name / "adapter_model.safetensors") for name in (champion, made.adapter))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_adapter_that_nobody_made_is_named(claimed: RunDirectory) -> None:
    answer = CliRunner().invoke(app, ["why", "a-0000000000000000"])
    assert isinstance(answer.exception, CsqaError)
    assert f"made a-0000000000000000; adapters made there: {_manifest(claimed).adapter}" in str(answer.exception)
