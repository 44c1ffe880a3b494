"""A batch that DuckDB, or what is derived, refuses for one record's sake: the others are taken, and that record is a dead letter."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop import events as e
from csqa_loop.errors import TransientError
from csqa_loop.evidence.derivation import Derivation
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.letters import letters
from csqa_loop.ledger.recorder import sort_out
from csqa_loop.log.records import LogRecord
from tests import events as make
from tests.ledgers import ledger_at

_follow = Derivation.follow


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = ledger_at(tmp_path / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def refusing(patch: pytest.MonkeyPatch, error: Exception, *poison: str) -> None:
    """What is derived fails as long as one of these messages is among the facts."""

    def follow(derivation: Derivation, fresh: Mapping[str, pa.Table], *, later: bool = False) -> None:
        _follow(derivation, fresh, later=later)
        for table in fresh.values():
            if "message_id" in table.column_names and not set(poison).isdisjoint(table["message_id"].to_pylist()):
                raise error

    patch.setattr(Derivation, "follow", follow)


@settings(max_examples=20)
@given(poison=st.sets(st.integers(0, 19), max_size=4), error=st.sampled_from([ValueError("odd"), duckdb.ConversionException("odd"), KeyError("odd"), duckdb.InternalException("odd")]))  # fmt: skip
def test_only_the_record_that_is_refused_becomes_a_letter(
    tmp_path_factory: pytest.TempPathFactory, poison: set[int], error: Exception
) -> None:
    ledger = ledger_at(tmp_path_factory.mktemp("refused") / "ledger.duckdb")
    ledger.open()
    records = [make.record(make.thumb(number), number) for number in range(20)] + [LogRecord("csqa.feedback", 0, 20, b"k", b"{")]
    with pytest.MonkeyPatch.context() as patch:
        refusing(patch, error, *(f"m{number}" for number in poison))
        assert ledger.take(sort_out(records, lambda event: event)) == 20 - len(poison)
    told = {letter.offset: letter.reason for letter in letters(ledger.connection)}
    assert told.keys() == poison | {20}
    assert all("odd" in told[offset] and "refuses it" in told[offset] for offset in poison)
    assert ledger.connection.execute("SELECT next_offset FROM offsets").fetchall() == [(21,)]
    # Mended, the same records are taken when they come again.
    assert ledger.take(sort_out(records[:20], lambda event: event)) == len(poison)
    assert {letter.offset for letter in letters(ledger.connection, state="waiting")} == {20}
    ledger.close()


@pytest.mark.parametrize("error", [duckdb.IOException("disk full"), OSError("gone"), duckdb.FatalException("disk full")])
def test_a_disk_that_refuses_makes_no_letter(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    refusing(monkeypatch, error, "m1")
    with pytest.raises(TransientError):
        ledger.take(make.batch(make.thumb(1), make.thumb(2)))
    assert letters(ledger.connection) == []


def test_sql_of_ours_that_is_wrong_makes_no_letter(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would refuse every record there is."""
    refusing(monkeypatch, duckdb.BinderException("no such column"), "m1")
    with pytest.raises(duckdb.BinderException):
        ledger.take(make.batch(make.thumb(1), make.thumb(2)))
    assert letters(ledger.connection) == []


def test_a_ledger_that_lacks_memory_gets_more(tmp_path: Path) -> None:
    """Large values of neighbouring rows are in memory at once, whatever the limit: it would refuse every batch from then on, and every start."""
    ledger = ledger_at(tmp_path / "ledger.duckdb", memory_mib=64)
    ledger.open()
    said = [e.ChatMessage(role="user", content=str(number) + "x" * 7_000_000) for number in range(12)]
    for number, message in enumerate(said):
        assert ledger.take(make.batch(make.answer(number, messages=(message,)))) == 1
    ledger.close()
    again = ledger_at(tmp_path / "ledger.duckdb", memory_mib=64)
    again.open()
    assert again.take(make.batch(make.answer(99))) == 1
    assert letters(again.connection) == []
    again.close()


def test_a_record_that_no_column_takes_is_a_letter(ledger: Ledger) -> None:
    """What masking or a model let through and Arrow does not: found record by record."""
    odd = make.thumb(2).model_copy(update={"comment": "\ud83d"})
    rows = sort_out(
        [make.record(make.thumb(number), number) for number in range(4)], lambda event: odd if event == make.thumb(2) else event
    )
    assert ledger.take(rows) == 3
    (letter,) = letters(ledger.connection)
    assert (letter.offset, letter.event_id) == (2, str(odd.event_id))
    assert "no column takes it" in letter.reason


def test_a_fault_of_ours_in_reading_one_record_is_its_letter(ledger: Ledger) -> None:
    def broken(event: object) -> object:
        if event == make.thumb(2):
            raise RuntimeError("a fault")
        return event

    rows = sort_out([make.record(make.thumb(number), number) for number in range(4)], broken)  # type: ignore[arg-type]
    assert ledger.take(rows) == 3
    assert [letter.reason for letter in letters(ledger.connection)] == ["csqa.feedback: it cannot be read: RuntimeError: a fault"]


def test_a_message_that_cannot_be_derived_is_left_out_and_the_others_are_not(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.take(make.batch(*(make.answer(number) for number in range(6)), *(make.bad_case(number) for number in range(6))), later=True)
    derive = Derivation._derive

    def poisoned(derivation: Derivation, names: list[str]) -> None:
        if "m3" in names:
            raise KeyError("odd")
        derive(derivation, names)

    monkeypatch.setattr(Derivation, "_derive", poisoned)
    while ledger.derive():
        pass
    blamed = ledger.connection.execute("SELECT message_id FROM blames ORDER BY 1").fetchall()
    assert [name for (name,) in blamed] == ["m0", "m1", "m2", "m4", "m5"]
