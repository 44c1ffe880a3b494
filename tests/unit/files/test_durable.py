"""Files and folders that are seen whole or not at all."""

import os
import stat

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.files.durable import whole_folder, write_atomically, write_once, write_rows, write_streamed


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    file = tmp_path / "told.json"
    write_atomically(file, b"old")
    write_atomically(file, b"new")
    assert (file.read_bytes(), names(tmp_path)) == (b"new", ["told.json"])


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    file = tmp_path / "rows.jsonl"
    write_atomically(file, b"old")

    def write(handle):
        handle.write(b"half")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_streamed(file, write)
    assert (file.read_bytes(), names(tmp_path)) == (b"old", ["rows.jsonl"])


def test_a_reader_never_sees_half_of_a_stream(tmp_path):
    file = tmp_path / "rows.jsonl"

    def write(handle):
        handle.write(b"half")
        handle.flush()
        assert not file.exists()
        return 7

    assert write_streamed(file, write) == 7
    assert file.read_bytes() == b"half"


def test_the_first_writer_of_keys_wins_and_only_the_owner_reads_them(tmp_path):
    file = tmp_path / "secrets.json"
    write_once(file, b"first")
    write_once(file, b"second")
    assert (file.read_bytes(), names(tmp_path)) == (b"first", ["secrets.json"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_rows_are_counted_and_a_refusing_folder_is_named(tmp_path, capsys):
    rows = [{"question": "运费多少?"}, {"question": "Versand?"}]
    assert write_rows(tmp_path / "rows.jsonl", rows) == 2
    assert write_rows("-", rows) == 2
    assert (
        (tmp_path / "rows.jsonl").read_text(encoding="utf-8")
        == capsys.readouterr().out
        == '{"question": "运费多少?"}\n{"question": "Versand?"}\n'
    )
    with pytest.raises(PermanentError, match=r"missing/rows.jsonl cannot be written: No such file or directory; name a file"):
        write_rows(tmp_path / "missing" / "rows.jsonl", rows)


def test_a_folder_appears_whole(tmp_path):
    target = tmp_path / "exports" / "adapter"
    with whole_folder(target) as draft:
        (draft / "tokenizer").mkdir()
        (draft / "tokenizer" / "vocabulary.txt").write_text("a")
        assert not target.exists()
    assert names(target) == ["tokenizer"]
    assert names(target.parent) == ["adapter"]


def test_a_folder_that_cannot_be_filled_is_gone(tmp_path):
    with pytest.raises(ValueError, match="no"), whole_folder(tmp_path / "adapter") as draft:
        (draft / "half").write_text("half")
        raise ValueError("no")
    assert names(tmp_path) == []


def test_a_folder_that_is_taken_stays_as_it_is(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "mine").touch()
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "adapter"):
        pass
    assert names(tmp_path) == ["adapter"]
    assert names(tmp_path / "adapter") == ["mine"]


def test_what_a_killed_process_with_this_number_left_is_cleared(tmp_path):
    left = tmp_path / f".adapter.{os.getpid()}"
    left.mkdir()
    (left / "half").touch()
    with whole_folder(tmp_path / "adapter") as draft:
        (draft / "whole").touch()
    assert names(tmp_path / "adapter") == ["whole"]
