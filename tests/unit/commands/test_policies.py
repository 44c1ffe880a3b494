"""Reading a folder of policies: what is taken, and what is refused by name."""

from pathlib import Path

import pytest

from csqa_loop.commands.policies import read_folder
from csqa_loop.errors import PermanentError
from csqa_loop.events.topics import MAX_POLICY_BYTES


def test_a_policy_id_is_the_path_without_md(tmp_path: Path) -> None:
    (tmp_path / "zh").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("returns.md", "zh/退货.md", "zh/v1.2.md", ".git/x.md", ".draft.md", "notes.txt"):
        (tmp_path / name).write_bytes(b"text\r\n")
    files, unreadable = read_folder(tmp_path)
    assert files == {"returns": "text\r\n", "zh/退货": "text\r\n", "zh/v1.2": "text\r\n"}
    assert unreadable == {}


def test_what_cannot_be_a_policy_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("text")
    (tmp_path / "big.md").write_bytes(b"a" * (MAX_POLICY_BYTES + 1))
    (tmp_path / "limit.md").write_bytes(b"a" * MAX_POLICY_BYTES)
    (tmp_path / "latin.md").write_bytes("Gebühr".encode("latin-1"))
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere.md")
    files, unreadable = read_folder(tmp_path)
    assert sorted(files) == ["good", "limit"]
    assert sorted(unreadable) == ["big", "gone", "latin"]
    assert "1048577 bytes" in unreadable["big"]
    assert "not UTF-8 (byte 3" in unreadable["latin"]


def test_a_wrong_folder_publishes_and_withdraws_nothing(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"holds no \.md file"):
        read_folder(tmp_path)
    with pytest.raises(PermanentError, match="is not a folder"):
        read_folder(tmp_path / "missing")
