"""What a spool took is there after any end of the process, once, in order, and never half."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop.errors import TransientError
from csqa_loop.log.records import Outgoing
from csqa_loop.log.spool import Spool

ROOM = 1024 * 1024
STEPS = st.lists(
    st.tuples(st.just("append"), st.lists(st.integers(0, 300), min_size=1, max_size=4))
    | st.tuples(st.just("deliver"), st.integers(1, 5))
    | st.tuples(st.sampled_from(["crash", "close"]), st.just(0)),
    max_size=25,
)


def record(number: int, size: int = 0) -> Outgoing:
    return Outgoing("csqa.chats", f"talk-{number % 3}".encode(), b"%d\n" % number + b"\x00" * size, (("type", b"AnswerGiven"),))


def opened(folder: Path, room: int = ROOM, segment: int = 500) -> Spool:
    spool = Spool(folder, room, segment_bytes=segment)
    spool.open()
    return spool


def all_of(spool: Spool) -> list[Outgoing]:
    """Everything that waits, delivered."""
    found = []
    while records := spool.head(3):
        found += records
        spool.drop(len(records))
    return found


@settings(max_examples=60)
@given(STEPS)
def test_a_spool_is_a_queue_that_survives(steps: list[tuple[str, object]]) -> None:
    """After a crash some that were delivered may come again: those of the segment that was being delivered, before all others."""
    with TemporaryDirectory() as folder:
        spool, waiting, delivered, number = opened(Path(folder)), [], [], 0
        for step, argument in steps:
            if step == "append":
                group = [record(number + place, size) for place, size in enumerate(argument)]  # type: ignore[call-overload]
                number += len(group)
                assert spool.append([group]) == 1
                waiting += group
            elif step == "deliver":
                records = spool.head(argument)  # type: ignore[arg-type]
                assert records == waiting[: len(records)]
                assert records or not waiting
                spool.drop(len(records))
                delivered += records
                del waiting[: len(records)]
            else:
                spool.close()
                spool = opened(Path(folder))
                again = spool.events - len(waiting)
                assert 0 <= again <= len(delivered)
                waiting = [*delivered[len(delivered) - again :], *waiting]
                del delivered[len(delivered) - again :]
            assert spool.events == len(waiting)
        assert all_of(spool) == waiting
        assert spool.size == 0
        spool.close()
        assert [path.name for path in Path(folder).iterdir()] == ["lock"]


@settings(max_examples=100)
@given(st.integers(0, 2000), st.binary(max_size=30), st.booleans())
def test_a_torn_tail_is_cut_and_what_was_whole_is_kept(cut: int, garbage: bytes, zeros: bool) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        spool = opened(folder, segment=ROOM)
        sent = [record(number, 40) for number in range(10)]
        ends = []
        for one in sent:
            spool.append([[one]])
            ends.append(spool.size)
        spool.close()
        [segment] = folder.glob("*.spool")
        cut = min(cut, ends[-1])
        os.truncate(segment, cut)
        with segment.open("ab") as file:
            file.write(b"\x00" * 4096 if zeros else garbage)
        whole = [one for one, end in zip(sent, ends, strict=True) if end <= cut]
        spool = opened(folder)
        assert all_of(spool)[: len(whole)] == whole
        later = record(99)
        assert spool.append([[later]]) == 1
        assert all_of(spool) == [later]
        spool.close()


def test_a_full_spool_takes_whole_groups_or_none(tmp_path: Path) -> None:
    spool = opened(tmp_path, room=2000)
    groups = [[record(1, 500)], [record(2, 500), record(3, 500)], [record(4, 900)], [record(5)]]
    assert spool.append(groups) == 2
    assert spool.size <= 2000
    assert spool.append([[record(6, 900)]]) == 0
    spool.drop(3)
    assert spool.append([[record(6, 900)]]) == 1
    assert all_of(spool) == [record(6, 900)]
    spool.close()


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    spool, other = opened(tmp_path), Spool(tmp_path, ROOM)
    with pytest.raises(TransientError, match="belongs to another process"):
        other.open()
    with pytest.raises(TransientError, match="not open"):
        other.append([[record(1)]])
    spool.append([[record(1)]])
    spool.close()
    other.open()
    assert all_of(other) == [record(1)]
    other.close()


def test_a_disk_that_refuses_takes_nothing_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = opened(tmp_path, segment=ROOM)
    assert spool.append([[record(1)]]) == 1

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(TransientError, match="No space left"):
            spool.append([[record(2)]])
    assert spool.append([[record(3)]]) == 1
    spool.close()
    again = opened(tmp_path)
    assert all_of(again) == [record(1), record(3)]
    again.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransientError, match="cannot be used"):
        Spool(tmp_path / "file" / "spool", ROOM).open()
