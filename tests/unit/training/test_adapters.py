"""Whether an adapter's folder still holds what its name says."""

import shutil
from pathlib import Path

import pytest

from csqa_loop.errors import TransientError
from csqa_loop.training import adapters
from csqa_loop.training.adapters import TENSORS_FILE, AdapterFolders
from tests.adapter_folders import adapter_in


def test_damage_and_loss_are_seen_and_so_is_repair(tmp_path: Path) -> None:
    name = adapter_in(tmp_path, b"tensors")
    folders = AdapterFolders(tmp_path)
    assert folders.fault(name) == ""
    (tmp_path / name / TENSORS_FILE).write_bytes(b"TENSORS")
    assert "has the content of a-" in folders.fault(name)
    shutil.rmtree(tmp_path / name)
    assert "is not in" in folders.fault(name)
    adapter_in(tmp_path, b"tensors")
    assert folders.fault(name) == ""


def test_a_folder_that_nobody_touched_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = adapter_in(tmp_path, b"tensors")
    folders = AdapterFolders(tmp_path)
    assert folders.fault(name) == ""
    monkeypatch.setattr(adapters, "verify", lambda folder, name: pytest.fail("read again"))
    assert folders.fault(name) == ""


def test_a_disk_that_does_not_answer_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, name: str) -> Path:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(adapters, "verify", broken)
    name = adapter_in(tmp_path, b"tensors")
    with pytest.raises(TransientError, match="Input/output error"):
        AdapterFolders(tmp_path).fault(name)
