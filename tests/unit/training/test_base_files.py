"""One number for a base model's files."""

from pathlib import Path

import pytest

from csqa_loop.training import base_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_a_change_under_the_same_name_is_seen(folder: Path) -> None:
    before = base_files.fingerprint_here(str(folder))
    assert before == base_files.fingerprint(folder)
    (folder / "README.md").write_text("changes nothing that the model says")
    assert base_files.fingerprint_here(str(folder)) == before
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert base_files.fingerprint_here(str(folder)) == base_files.fingerprint(folder) != before


def test_files_are_read_again_only_when_they_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(base_files, "fingerprint", lambda folder: read.append(folder) or "f")
    assert [base_files.fingerprint_here(str(folder)) for _ in range(3)] == ["f"] * 3
    assert read == [folder]


@pytest.mark.parametrize("name", ["nobody/nothing", "no such folder/at/all", ""])
def test_a_base_that_is_not_here_has_none(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert base_files.fingerprint_here(name or str(tmp_path / "nowhere")) == ""
