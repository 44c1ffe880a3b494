"""The ledger on real DuckDB files."""

import json
import random
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop import events as e
from csqa_loop.errors import PermanentError
from csqa_loop.evidence import pair_queries as pairs
from csqa_loop.evidence.rules.pairs import held_out
from csqa_loop.ledger import Ledger
from csqa_loop.ledger import bookkeeping as queries
from csqa_loop.ledger.invariants import check, ledger_hash
from csqa_loop.ledger.letters import letters_to_publish
from csqa_loop.ledger.recorder import sort_out
from csqa_loop.ledger.rules.batch import Batch, Letter
from csqa_loop.log.records import LogRecord
from tests import events as make
from tests.ledgers import ledger_at


@pytest.fixture
def ledger(tmp_path: Path):
    opened = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def count(ledger: Ledger, table: str) -> int:
    return ledger.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_takes_a_redelivered_batch_once(ledger: Ledger) -> None:
    batch = make.batch(make.answer(1), make.thumb(1))
    assert ledger.take(batch) == 2
    assert ledger.take(batch) == 0
    assert count(ledger, "events") == 2
    assert count(ledger, "answers") == 1


def test_a_known_id_with_another_body_is_a_dead_letter(ledger: Ledger) -> None:
    ledger.take(make.batch(make.thumb(1, "down")))
    assert ledger.take(make.batch(make.thumb(1, "up"), first_offset=1)) == 0
    (letter,) = letters_to_publish(ledger.connection)
    assert "another body" in letter.reason
    assert ledger.connection.execute("SELECT thumb FROM feedback").fetchall() == [("down",)]


def test_same_id_twice_in_one_batch(ledger: Ledger) -> None:
    assert ledger.take(make.batch(make.thumb(1), make.thumb(1))) == 1
    assert count(ledger, "dead_letters") == 0


def written_another_way(event: e.Event, offset: int = 0) -> LogRecord:
    body = json.loads(event.to_json()) | {"added_later": 1}
    return make.record(event, offset)._replace(value=json.dumps(dict(sorted(body.items())), indent=1).encode())


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("event", [make.answer(1), make.thumb(1), make.bad_case(1), make.policy("30 days"), make.review(1)])
def test_one_fact_written_two_ways_is_one_fact(ledger: Ledger, event: e.Event, *, together: bool) -> None:
    records = [make.record(event, 0), written_another_way(event, 1)]
    for some in [records] if together else [[one] for one in records]:
        ledger.take(sort_out(some, lambda same: same))
    assert (count(ledger, "events"), count(ledger, "dead_letters")) == (1, 0)


def test_an_id_restated_in_one_batch_is_a_dead_letter(ledger: Ledger) -> None:
    assert ledger.take(make.batch(make.thumb(1, "down"), make.thumb(1, "up"), make.thumb(1, "down"))) == 1
    assert count(ledger, "dead_letters") == 1


def test_an_id_restated_as_another_kind_is_a_dead_letter(ledger: Ledger) -> None:
    ledger.take(make.batch(make.thumb(1)))
    assert ledger.take(make.batch(make.bad_case(1).model_copy(update={"event_id": make.thumb(1).event_id}))) == 0
    assert count(ledger, "dead_letters") == 1


def test_a_bad_record_leaves_its_neighbours_alone(ledger: Ledger) -> None:
    bad = LogRecord("csqa.feedback", 0, 1, b"c1", b'{"event_id": "5f8a7c6e-0000-4000-8000-000000000001", "thumb": "sideways"}')
    records = [make.record(make.thumb(1), 0), bad, make.record(make.thumb(2), 2)]
    ledger.take(sort_out(records, lambda event: event))
    assert count(ledger, "feedback") == 2
    (letter,) = letters_to_publish(ledger.connection)
    assert letter.original_topic == "csqa.feedback"
    found = check(ledger.connection, accepted=["5F8A7C6E-0000-4000-8000-000000000001", str(make.thumb(1).event_id)], champion="base")
    assert [finding.invariant for finding in found if not finding.holds] == []
    ledger.mark_letters_published([letter.letter_id])
    assert letters_to_publish(ledger.connection) == []


def test_the_same_bad_record_twice_is_one_letter(ledger: Ledger) -> None:
    bad = LogRecord("csqa.feedback", 0, 1, None, b"\xff")
    ledger.take(sort_out([bad, bad], lambda event: event))
    ledger.take(sort_out([bad], lambda event: event))
    assert count(ledger, "dead_letters") == 1


def test_offsets_and_rows_are_one_transaction(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise duckdb.IOException("disk full")

    monkeypatch.setattr(ledger, "_set_offsets", refuse)
    with pytest.raises(Exception, match="disk full"):
        ledger.take(make.batch(make.thumb(1)))
    assert count(ledger, "events") == 0
    monkeypatch.undo()
    ledger.reopen()
    ledger.take(make.batch(make.thumb(1), first_offset=0))
    assert queries.next_offsets(ledger.connection)["csqa.feedback", 0][0] == 1


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_tables_are_a_function_of_the_set_of_events(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance = random.Random(seed)
    events: list[e.Event] = [make.policy("# Returns\n\nBoots may be returned within 45 days.\n")]
    for number in range(8):
        events += [make.exposure(number), make.answer(number, section=f"s{number}"), make.thumb(number), make.bad_case(number)]
    hashes = set()
    for _ in range(2):
        ledger = ledger_at(tmp_path_factory.mktemp("order") / "ledger.duckdb")
        ledger.open()
        shuffled = events + chance.sample(events, 10)
        chance.shuffle(shuffled)
        while shuffled:
            size = chance.randint(1, 9)
            ledger.take(make.batch(*shuffled[:size]), later=chance.random() < 0.4)
            if chance.random() < 0.2:
                ledger.derive()
            shuffled = shuffled[size:]
        while ledger.derive():
            pass
        hashes.add(ledger_hash(ledger.connection))
        ledger.close()
    assert len(hashes) == 1


def test_training_on_held_out_pairs_breaks_i4(ledger: Ledger) -> None:
    section = next(name for name in map(str, range(100)) if held_out("returns", name))
    ledger.take(make.batch(make.answer(1, section=section), make.bad_case(1)))
    (pair,) = pairs.holdout_pairs(ledger.connection)
    ledger.take(
        make.batch(
            e.TrainingRequested(
                occurred_at=make.at(9), run_id="r", attempt=1, reason="x", champion="base", pair_ids=(pair.pair_id,), data_hash="x"
            )
        )
    )
    assert [finding.invariant for finding in check(ledger.connection, champion="base") if not finding.holds] == ["I4"]


def test_missing_accepted_event_breaks_i1(ledger: Ledger) -> None:
    ledger.take(make.batch(make.thumb(1)))
    broken = [
        f.invariant
        for f in check(ledger.connection, accepted=[str(make.thumb(1).event_id), str(make.thumb(2).event_id)], champion="base")
        if not f.holds
    ]
    assert broken == ["I1"]


def test_kafka_ahead_of_the_ledger_breaks_i3(ledger: Ledger) -> None:
    ledger.take(make.batch(make.thumb(1), first_offset=0))
    broken = [f.invariant for f in check(ledger.connection, committed={("csqa.feedback", 0): 5}, champion="base") if not f.holds]
    assert broken == ["I3"]


def test_one_active_ledger_and_a_standby(tmp_path: Path) -> None:
    active, standby = ledger_at(tmp_path / "l.duckdb"), ledger_at(tmp_path / "l.duckdb")
    assert active.try_lock()
    assert not standby.try_lock()
    active.open()
    active.close()
    assert standby.try_lock()
    standby.close()


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    ledger = ledger_at(tmp_path / "l.duckdb")
    ledger.open()
    ledger.connection.execute("INSERT INTO migrations VALUES ('9999_future.sql', 'x', now())")
    ledger.close()
    with pytest.raises(PermanentError, match="newer version"):
        ledger_at(tmp_path / "l.duckdb").open()


def test_dead_letters_of_a_batch_without_facts(ledger: Ledger) -> None:
    record = LogRecord("csqa.chats", 3, 7, b"\xff\xfe", None)
    ledger.take(Batch(facts=[], letters=[Letter(record, "no value")], marks=[]))
    (letter,) = letters_to_publish(ledger.connection)
    assert (letter.partition, letter.offset, letter.letter_id) == (3, 7, Letter(record, "").letter_id)
