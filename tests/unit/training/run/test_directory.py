"""Run directories and adapter folders: what a job refuses, and how it says so."""

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.settings import TrainingSettings
from csqa_loop.training import adapters
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import ProgressLine, RunConfig
from csqa_loop.training.run.manifest import recipe_hash
from csqa_loop.training.run.rows import Demonstration, Unpaired, data_hash_of, examples_hash, rows_file
from csqa_loop.training.run.writer import RunWriter
from tests.adapter_folders import CONFIG, tensors_of
from tests.run_directories import pair, requested, write_run


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return write_run(tmp_path / "runs", pairs=[pair(1), pair(2)], holdout=[pair(3)])


def _edit(run: RunDirectory, name: str, **changes: object) -> None:
    file = run.path / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_what_the_loop_writes_is_what_a_job_reads(run: RunDirectory) -> None:
    request, config = run.check()
    assert (request.run_id, request.champion, config.parent) == ("r-1", "base", "base")
    assert [p.pair_id for p in run.pairs()] == ["p-1", "p-2"]
    assert [p.pair_id for p in run.holdout()] == ["p-3"]
    assert run.pairs()[0].prompt[-1].content == pair(1).question
    assert run.manifest() is None
    assert run.evaluation() is None


@pytest.mark.parametrize("name", ["request.json", "config.json", "pairs.parquet"])
def test_a_missing_file_is_named(run: RunDirectory, name: str) -> None:
    (run.path / name).unlink()
    with pytest.raises(PermanentError, match=f"{name} is missing"):
        run.check()


@pytest.mark.parametrize("name", ["request.json", "config.json", "pairs.parquet"])
def test_a_damaged_file_is_named(run: RunDirectory, name: str) -> None:
    (run.path / name).write_bytes(b'{"half')
    with pytest.raises(PermanentError, match=name):
        run.check()


def test_wrong_contents_are_named_with_what_would_be_right(run: RunDirectory) -> None:
    for name, changes, message in [
        ("request.json", {"run_id": "r-2"}, "it must be for 'r-1'"),
        ("request.json", {"run_id": "r-1", "pair_ids": ["p-1"]}, "'p-2' is not in request.json"),
        ("request.json", {"pair_ids": ["p-1", "p-2", "p-9"]}, "'p-9' of request.json is missing"),
        ("request.json", {"pair_ids": ["p-1", "p-2"], "champion": "a-0123456789abcdef"}, "parent is 'base'"),
        ("config.json", {"parent": "../etc"}, "parent"),
        ("config.json", {"parent": "a-0123456789abcdef", "training": {"epochs": -1}}, "training.epochs"),
    ]:
        _edit(run, name, **changes)
        with pytest.raises(PermanentError, match=message):
            run.check()


def test_a_held_out_pair_is_never_trained_on(tmp_path: Path) -> None:
    both = write_run(tmp_path / "runs", pairs=[pair(1), pair(2)], holdout=[pair(2)])
    with pytest.raises(PermanentError, match=r"'p-2' is in pairs\.parquet and in holdout\.parquet"):
        both.check()


def test_a_pair_counts_once(tmp_path: Path) -> None:
    twice = write_run(tmp_path / "runs", pairs=[pair(1), pair(1)])
    with pytest.raises(PermanentError, match="more than once"):
        twice.check()


def test_a_question_that_nearly_repeats_a_held_out_one_is_never_trained_on(tmp_path: Path) -> None:
    asked = pair(1, question="How long may I keep the blue lamp before I send it back?")
    for number, part in enumerate(({"pairs": [asked]}, {"pairs": [pair(2)], "replay": [asked]})):
        held_out = pair(3, question="how long may I keep the blue lamps before I send it back")
        run = write_run(tmp_path / str(number), holdout=[held_out], **part)
        with pytest.raises(PermanentError, match=r"'How long may I keep the blue lamp .* nearly repeats"):
            run.check()


def test_a_file_that_was_changed_added_or_removed_after_the_request_stops_the_run(tmp_path: Path) -> None:
    edited = write_run(tmp_path / "1", pairs=[pair(1)])
    _edit(edited, "config.json", model_server_urls=["http://127.0.0.1:1"])
    with pytest.raises(PermanentError, match=r"config\.json was changed after the run was requested"):
        edited.check()

    other, swapped = write_run(tmp_path / "2", pairs=[pair(1, chosen="Never.")]), write_run(tmp_path / "3", pairs=[pair(1)])
    (swapped.path / "pairs.parquet").write_bytes((other.path / "pairs.parquet").read_bytes())
    with pytest.raises(PermanentError, match=r"pairs\.parquet was changed"):
        swapped.check()

    added = write_run(tmp_path / "4", pairs=[pair(1)])
    liked = Unpaired(example_id="u-1", question="q", prompt=[{"role": "user", "content": "q"}], answer="a", liked=True)
    (added.path / "unpaired.parquet").write_bytes(rows_file([liked], Unpaired))
    with pytest.raises(PermanentError, match=r"unpaired\.parquet was not requested"):
        added.check()

    removed = write_run(tmp_path / "5", unpaired=[liked])
    removed.check()
    (removed.path / "holdout.parquet").unlink()
    with pytest.raises(PermanentError, match=r"holdout\.parquet is missing"):
        removed.check()


def test_every_kind_of_example_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "中文"}, {"role": "user", "content": "q"}]
    liked = Unpaired(example_id="u-1", question="q", prompt=messages, answer="a", liked=False, weight=0.5, evidence_event_id="e-1")
    shown = Demonstration(example_id="d-1", question="q", prompt=messages, answer="b", category="dialogue")
    run = write_run(tmp_path, pairs=[pair(1)], replay=[pair(2)], unpaired=[liked], demonstrations=[shown])
    request, _ = run.check()
    assert request.replay_pair_ids == ("p-2",)
    assert [p.pair_id for p in run.replay()] == ["p-2"]
    assert (run.unpaired(), run.demonstrations()) == ((liked,), (shown,))
    files = [run.path / f"{name}.parquet" for name in ("demonstrations", "unpaired", "replay", "pairs")]
    assert data_hash_of(*files) == examples_hash([pair(1), pair(2)], [liked], [shown])
    assert data_hash_of(*files) != examples_hash([pair(1), pair(2)], [liked.model_copy(update={"liked": True})], [shown])


def test_the_run_uses_the_method_that_the_request_names(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, RunConfig(base_model="b", adapters="/a", training=TrainingSettings(method="auto")))
    asked = requested(pairs=[pair(1)]).model_copy(update={"method": "dpo", "reason": "due"})
    asyncio.run(writer.prepare(asked, [pair(1)], []))
    request, config = RunDirectory.of(tmp_path, asked.run_id).check()
    assert (request.reason, config.training.method) == ("due", "dpo")
    assert writer.recipe_hash("base", "h", "dpo") != writer.recipe_hash("base", "h", "kto")
    assert writer.recipe_hash("base", "h", "dpo") == recipe_hash("b", "base", "h", config.training.model_dump_json())


def test_an_anchored_run_starts_from_the_base(tmp_path: Path) -> None:
    champion = "a-0123456789abcdef"
    run = write_run(tmp_path, pairs=[pair(1)], champion=champion, training={"mode": "anchored"})
    request, config = run.check()
    assert (request.champion, config.parent) == (champion, "base")
    _edit(run, "config.json", parent=champion)
    with pytest.raises(PermanentError, match="an anchored run starts afresh"):
        run.check()


def test_a_placebo_continues_the_champion_in_any_mode(tmp_path: Path) -> None:
    champion = "a-0123456789abcdef"
    run = write_run(tmp_path, pairs=[pair(1)], champion=champion, training={"mode": "anchored", "method": "placebo"})
    _, config = run.check()
    assert config.parent == champion


def test_held_out_pairs_say_whether_they_are_so_by_question_or_by_time(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, RunConfig(base_model="b", adapters="/a"))
    held_out = [dataclasses.replace(pair(2), held_out=True), pair(3)]
    asyncio.run(writer.prepare(requested(pairs=[pair(1)], holdout=held_out), [pair(1)], held_out))
    assert [(one.pair_id, one.split) for one in RunDirectory.of(tmp_path, "r-1").holdout()] == [("p-2", "question"), ("p-3", "time")]
    assert {one.split for one in RunDirectory.of(tmp_path, "r-1").pairs()} == {"question"}


def test_the_base_is_pinned_when_a_run_is_requested(tmp_path: Path) -> None:
    asked: list[str] = []
    writer = RunWriter(tmp_path, RunConfig(base_model="b", adapters="/a"), lambda name: asked.append(name) or "f" * 64)
    asyncio.run(writer.prepare(requested(pairs=[pair(1)]), [pair(1)], []))
    assert (RunDirectory.of(tmp_path, "r-1").config().base_fingerprint, asked) == ("f" * 64, ["b"])


def _again(run: RunDirectory, attempt: int, *, pairs: list[Pair], learning_rate: float = 1e-4) -> None:
    config = RunConfig(base_model="b", adapters="/a", training=TrainingSettings(learning_rate=learning_rate))
    asked = requested(attempt=attempt, pairs=pairs)
    asyncio.run(RunWriter(run.path.parent, config).prepare(asked, pairs, []))


def test_a_new_attempt_takes_over_a_whole_directory_with_its_checkpoints_and_settings(tmp_path: Path) -> None:
    run = write_run(tmp_path, pairs=[pair(1)])
    (run.path / "checkpoints").mkdir()
    _again(run, 2, pairs=[pair(1)], learning_rate=1e-3)
    request, config = run.check()
    assert (request.attempt, config.training.learning_rate) == (2, TrainingSettings().learning_rate)
    assert (run.path / "checkpoints").is_dir()
    run.require_attempt(2)
    with pytest.raises(PermanentError, match=r"attempt 2 has taken .*r-1 over; attempt 1 ends here"):
        run.require_attempt(1)


@pytest.mark.parametrize("damage", ["config.json", "pairs.parquet", "holdout.parquet", "request.json"])
def test_a_new_attempt_writes_a_damaged_directory_again(tmp_path: Path, damage: str) -> None:
    run = write_run(tmp_path, pairs=[pair(1)], replay=[])
    for name in ("manifest.json", "checkpoints.json", "unpaired.parquet"):
        (run.path / name).write_text("{}")
    (run.path / "checkpoints").mkdir()
    (run.path / damage).write_bytes(b"half")
    _again(run, 2, pairs=[pair(1)])
    request, _ = run.check()
    assert request.attempt == 2
    assert not any((run.path / name).exists() for name in ("manifest.json", "checkpoints", "unpaired.parquet"))


def test_a_new_attempt_on_other_pairs_writes_the_directory_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, pairs=[pair(1), pair(2)])
    _again(run, 2, pairs=[pair(1)])
    assert [one.pair_id for one in run.pairs()] == ["p-1"]
    run.check()


def test_a_directory_that_this_attempt_is_at_work_on_is_left_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path, pairs=[pair(1), pair(2)])
    run.append_progress(step=0, steps=0)
    _again(run, 1, pairs=[pair(1)])
    assert [one.pair_id for one in run.pairs()] == ["p-1", "p-2"]
    run.discard("progress.jsonl")  # nobody has begun
    _again(run, 1, pairs=[pair(1)])
    assert [one.pair_id for one in run.pairs()] == ["p-1"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"learning_rate": 5}, "training.learning_rate"),
        ({"rank": 0}, "training.rank"),
        ({"rank": 32}, "training.rank"),
        ({"rank_pattern": {"q_proj": 64}}, "training.rank_pattern"),
        ({"modules_to_save": ["lm_head"]}, "training.modules_to_save"),
        ({"method": "kto", "batch_size": 2}, "training.batch_size"),
        ({"sft_mix": {"knowledge": 0.6, "dialogue": 0.3}}, "training.sft_mix"),
        ({"replay_share": 1.0}, "training.replay_share"),
        ({"lerning_rate": 1e-4}, "training.lerning_rate"),
    ],
)
def test_a_training_setting_out_of_range_is_named(run: RunDirectory, values: dict[str, object], named: str) -> None:
    _edit(run, "config.json", training=values)
    with pytest.raises(PermanentError, match=rf"config\.json: {named}"):
        run.check()


@pytest.mark.parametrize("run_id", ["", "..", "../r", "a/b", ".hidden", "-rf", "x" * 201])
def test_a_run_id_that_leaves_the_folder_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(PermanentError, match="cannot be a folder's name"):
        RunDirectory.of(tmp_path, run_id)


def test_progress_survives_a_half_written_line(run: RunDirectory) -> None:
    assert run.last_step() == ProgressLine()
    run.append_progress(step=3, steps=9, loss=0.5)
    with (run.path / "progress.jsonl").open("a") as file:
        file.write('{"step": 4, "ste')
    assert run.last_step() == ProgressLine(step=3, steps=9, loss=0.5)


def _adapter(folder: Path, tensors: bytes = b"tensors") -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(CONFIG)
    (folder / "adapter_model.safetensors").write_bytes(tensors_of(tensors))
    return folder


def test_an_adapter_is_named_by_its_bytes_wherever_it_lies(tmp_path: Path) -> None:
    name = adapters.adapter_name(_adapter(tmp_path / "one"))
    assert name == adapters.adapter_name(_adapter(tmp_path / "two"))
    assert name != adapters.adapter_name(_adapter(tmp_path / "three", b"tensorz"))
    assert len(name) == 18
    assert name.startswith("a-")


def test_installing_the_same_adapter_twice_keeps_the_first(tmp_path: Path) -> None:
    store = tmp_path / "adapters"
    name = adapters.install(_adapter(tmp_path / "one"), store)
    inode = (store / name / "adapter_config.json").stat().st_ino
    assert adapters.install(_adapter(tmp_path / "again"), store) == name
    assert (store / name / "adapter_config.json").stat().st_ino == inode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapters"]
    assert [path.name for path in store.iterdir()] == [name]


def test_a_changed_or_missing_adapter_is_noticed(tmp_path: Path) -> None:
    store = tmp_path / "adapters"
    name = adapters.install(_adapter(tmp_path / "one"), store)
    (store / name / "adapter_model.safetensors").write_bytes(b"other")
    with pytest.raises(PermanentError, match="has the content of a-"):
        adapters.verify(store, name)
    with pytest.raises(PermanentError, match="is not in"):
        adapters.verify(store, "a-0000000000000000")


def test_installing_replaces_what_is_damaged(tmp_path: Path) -> None:
    store = tmp_path / "adapters"
    name = adapters.install(_adapter(tmp_path / "one"), store)
    (store / name / "adapter_model.safetensors").write_bytes(b"ten")
    assert adapters.install(_adapter(tmp_path / "again"), store) == name
    adapters.verify(store, name)


def test_other_files_are_not_part_of_an_adapter(tmp_path: Path) -> None:
    (_adapter(tmp_path / "one") / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(PermanentError, match="exactly"):
        adapters.adapter_name(tmp_path / "one")
