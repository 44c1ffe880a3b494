"""Reading a folder of policies: what is taken, what is refused by name, and what is skipped by name."""

import os
import unicodedata
from pathlib import Path

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.events.topics import MAX_POLICY_BYTES
from csqa_loop.knowledge.folder import counted, read_folder


def test_a_policy_id_is_the_path_without_its_ending(tmp_path: Path) -> None:
    (tmp_path / "zh").mkdir()
    (tmp_path / ".git").mkdir()
    names = ("returns.md", "zh/退货.md", "zh/v1.2.md", "FEES.MD", "long.markdown", "Mixed.MarkDown", ".git/x.md", ".draft.md")
    for name in names:
        (tmp_path / name).write_bytes(b"text\r\n")
    folder = read_folder(tmp_path)
    assert folder.texts == dict.fromkeys(("returns", "zh/退货", "zh/v1.2", "FEES", "long", "Mixed"), "text\r\n")
    assert (folder.refused, folder.skipped) == ({}, {})
    assert folder.name_of("FEES") == "FEES.MD"


def test_what_cannot_be_a_policy_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("text")
    (tmp_path / "big.md").write_bytes(b"a" * (MAX_POLICY_BYTES + 1))
    (tmp_path / "limit.md").write_bytes(b"a" * MAX_POLICY_BYTES)
    (tmp_path / "latin.md").write_bytes("Gebühr".encode("latin-1"))
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere.md")
    folder = read_folder(tmp_path)
    assert sorted(folder.texts) == ["good", "limit"]
    assert sorted(folder.refused) == ["big", "gone", "latin"]
    assert "1048577 bytes" in folder.refused["big"]
    assert "not UTF-8 (byte 3" in folder.refused["latin"]


def test_other_files_are_skipped_by_name_and_leftovers_quietly(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    names = (
        "notes.txt",
        "terms.docx",
        "old/fees.PDF",
        "README",
        "returns.md~",
        "#returns.md#",
        "returns.md.swp",
        "~$terms.docx",
        "Thumbs.db",
    )
    for name in ("returns.md", *names):
        (tmp_path / name).write_text("text")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "old")
    folder = read_folder(tmp_path)
    assert sorted(folder.skipped) == ["README", "elsewhere", "notes.txt", "old/fees.PDF", "terms.docx"]
    assert counted(dict.fromkeys(("a.txt", "b.TXT", "c.docx", "README"), "")) == "1 .docx, 2 .txt, 1 without an ending"
    assert "link to a folder" in folder.skipped["elsewhere"]
    assert {"notes", "terms", "old/fees", "elsewhere/"} <= folder.skipped_ids


@pytest.mark.parametrize(
    ("one", "other"),
    [("a.md", "a.markdown"), ("a.md", "a.MD"), (unicodedata.normalize("NFC", "é.md"), unicodedata.normalize("NFD", "é.md"))],
)
def test_two_files_of_one_policy_are_refused_by_both_names(tmp_path: Path, one: str, other: str) -> None:
    for name in (one, other, "good.md"):
        (tmp_path / name).write_text(name)
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system takes both names for one file")
    folder = read_folder(tmp_path)
    assert list(folder.texts) == ["good"]
    (reason,) = folder.refused.values()
    assert one in reason
    assert other in reason


def test_a_decomposed_name_is_the_composed_policy(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "Rückgabe.md")).write_text("text")
    assert list(read_folder(tmp_path).texts) == [unicodedata.normalize("NFC", "Rückgabe")]


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zh").mkdir()
    (tmp_path / "a.md").write_text("text")
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith("zh"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    folder = read_folder(tmp_path)
    assert list(folder.texts) == ["a"]
    assert "Permission denied" in folder.refused["zh/"]


def test_a_wrong_folder_publishes_and_withdraws_nothing(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"holds no \.md file;"):
        read_folder(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(PermanentError, match=r"holds no \.md file \(but 1 \.txt\)"):
        read_folder(tmp_path)
    with pytest.raises(PermanentError, match="is not a folder"):
        read_folder(tmp_path / "missing")
