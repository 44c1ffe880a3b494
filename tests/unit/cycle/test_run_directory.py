"""Run directories and adapter folders: what a job refuses, and how it says so."""

import json
from pathlib import Path

import pytest

from csqa_loop.cycle import adapters
from csqa_loop.cycle.run_directory import RunDirectory, Step
from csqa_loop.domain.errors import PermanentError
from tests.run_directories import pair, write_run


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


@pytest.mark.parametrize("run_id", ["", "..", "../r", "a/b", ".hidden", "-rf", "x" * 201])
def test_a_run_id_that_leaves_the_folder_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(PermanentError, match="cannot be a folder's name"):
        RunDirectory.of(tmp_path, run_id)


def test_progress_survives_a_half_written_line(run: RunDirectory) -> None:
    assert run.last_step() == Step()
    run.append_progress(step=3, steps=9, loss=0.5)
    with (run.path / "progress.jsonl").open("a") as file:
        file.write('{"step": 4, "ste')
    assert run.last_step() == Step(step=3, steps=9, loss=0.5)


def _adapter(folder: Path, tensors: bytes = b"tensors") -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(tensors)
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


def test_other_files_are_not_part_of_an_adapter(tmp_path: Path) -> None:
    (_adapter(tmp_path / "one") / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(PermanentError, match="exactly"):
        adapters.adapter_name(tmp_path / "one")
