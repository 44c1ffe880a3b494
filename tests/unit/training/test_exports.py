"""A folder is seen whole or not at all."""

import errno
import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.training.exports import export_to, read_export


def _seen(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))


@pytest.mark.parametrize("there_and_empty", [False, True])
def test_a_folder_appears_when_it_is_whole(there_and_empty: bool, tmp_path: Path) -> None:
    target = tmp_path / "new" / "export"
    if there_and_empty:
        target.mkdir(parents=True)
    with export_to(target) as draft:
        (draft / "one").write_text("1")
        (draft / "two").write_text("2")
        assert not target.exists() or _seen(target) == []
    assert _seen(target) == ["one", "two"]
    assert [file.name for file in target.parent.iterdir()] == ["export"]


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            pytest.raises(PermanentError, match="export cannot be written: .*No space left"),
        ),
        (PermanentError("no LoRA"), pytest.raises(PermanentError, match="no LoRA")),
        (KeyboardInterrupt(), pytest.raises(KeyboardInterrupt)),
    ],
)
def test_what_fails_half_way_leaves_nothing(error: BaseException, seen: AbstractContextManager[object], tmp_path: Path) -> None:
    def fill() -> None:
        with export_to(tmp_path / "export") as draft:
            (draft / "one").write_text("1")
            raise error

    with seen:
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused_by_name_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(PermanentError, match=f"{tmp_path} is there already"), export_to(tmp_path):
        pass
    with pytest.raises(PermanentError, match="mine is there already"), export_to(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").read_text() == "keep"


def test_a_draft_of_a_process_that_was_killed_is_no_part_of_the_next(tmp_path: Path) -> None:
    stale = tmp_path / f".export.{os.getpid()}"
    stale.mkdir()
    (stale / "half").write_text("1")
    with export_to(tmp_path / "export") as draft:
        (draft / "one").write_text("1")
    assert [file.name for file in tmp_path.rglob("*")] == ["export", "one"]


def test_a_place_where_nothing_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(PermanentError, match=f"{tmp_path / 'file' / 'export'} cannot be written"),
        export_to(tmp_path / "file" / "export"),
    ):
        pass


def test_a_folder_that_others_fill_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "export"

    def fill() -> None:
        with export_to(target) as draft:
            (draft / "ours").write_text("1")
            target.mkdir()
            (target / "theirs").write_text("2")

    with pytest.raises(PermanentError, match="export is there already"):
        fill()
    assert [file.name for file in tmp_path.rglob("*")] == ["export", "theirs"]


def test_what_is_no_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"has no manifest.json; name a folder that `csqa adapters export` wrote"):
        read_export(tmp_path)
