"""Whatever bytes arrive, the ledger lives on: the neighbours are taken, and what is no fact is a letter that can be published and listed."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from pydantic_core import to_jsonable_python

from csqa_loop import events as e
from csqa_loop.analytics.copy import publish_analytics
from csqa_loop.events.topics import FACT_TOPICS, MAX_RECORD_BYTES
from csqa_loop.events.wire import decode
from csqa_loop.evidence import pair_queries
from csqa_loop.experiment.closed_users import past_experiments
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.bookkeeping import recorded_counts
from csqa_loop.ledger.invariants import check, ledger_hash
from csqa_loop.ledger.letters import letter_in_full, letters, letters_to_publish
from csqa_loop.ledger.recorder import sort_out
from csqa_loop.ledger.sorting import Sorter
from csqa_loop.log.records import LogRecord, outgoing
from csqa_loop.rollout.epochs import unpublished_epoch
from csqa_loop.rollout.history import adapter_records, audit_entries
from csqa_loop.rollout.rules.next_step import next_step
from csqa_loop.rollout.state import loop_state
from tests import events as make
from tests.ledgers import ledger_at
from tests.odd_records import KEYS, VALUES, VALUES_OF_RECORDS, paths_of, with_value
from tests.unit.events.some_events import some_event

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    opened = ledger_at(tmp_path_factory.mktemp("ledger") / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def take(ledger: Ledger, topic: str, key: bytes | None, value: bytes | None) -> None:
    """Take the record between two thumbs and an answer, and look at what became of all."""
    first = next(_numbers) * 10
    around = [make.record(make.answer(first), first), make.record(make.thumb(first), first), make.record(make.bad_case(first), first + 2)]
    odd = LogRecord(topic, 3, first + 1, key, value)
    rows = asyncio.run(Sorter(b"k" * 32)([*around[:2], odd, around[2]]))
    before = {letter.letter_id for letter in letters(ledger.connection)}
    ledger.take(rows)
    ids = [str(decode(record.topic, record.value).event_id) for record in around]
    assert ledger.connection.execute("SELECT count(*) FROM events WHERE event_id IN (SELECT unnest($1::UUID[]))", [ids]).fetchone() == (3,)
    assert ledger.connection.execute("SELECT next_offset FROM offsets WHERE topic = ? AND partition = 3", [topic]).fetchone() == (
        first + 2,
    )
    for listed in letters(ledger.connection):
        if listed.letter_id not in before:
            assert json.loads(json.dumps(to_jsonable_python(listed)))["reason"]
            kept = letter_in_full(ledger.connection, listed.letter_id)[1]
            assert kept == odd or (
                listed.cut and kept[:3] == odd[:3] and odd.value.startswith(kept.value) and listed.bytes == len(odd.value)
            )
    published = letters_to_publish(ledger.connection)
    for letter in published:
        record = outgoing(letter)
        assert len(record.key or b"") + len(record.value or b"") < MAX_RECORD_BYTES
        assert decode(record.topic, record.value) == letter
    ledger.mark_letters_published([letter.letter_id for letter in published])


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(VALUES_OF_RECORDS, KEYS)
@example(("csqa.feedback", rb'{"event_id": "\ud83d"}'), b"c1")
@example(("csqa.feedback", rb'{"type": "\ud83d"}'), None)
@example(("csqa.feedback", b'{"event_id": "' + b"x" * 1_000_000 + b'"}'), b"c1")
def test_the_neighbours_are_taken_and_the_letter_can_be_published_and_listed(
    ledger: Ledger, record: tuple[str, bytes | None], key: bytes | None
) -> None:
    take(ledger, record[0], key, record[1])


@pytest.mark.parametrize("megabytes", [7, 10])
@pytest.mark.parametrize("key", [b"c1", b"\xff" * 3_000_000], ids=["key", "large key"])
@pytest.mark.parametrize("form", ["no JSON", "type", "field"])
def test_a_large_record_is_a_letter_that_fits(ledger: Ledger, megabytes: int, key: bytes, form: str) -> None:
    filling = b"x" * (megabytes * 1_000_000)
    told = make.thumb(1).to_json().replace(b'"user"', b'"comment":"' + filling + b'","user"')
    value = {"no JSON": filling, "type": b'{"type": "' + filling + b'"}', "field": told}[form]
    take(ledger, "csqa.feedback", key, value)


def odd_neighbours(kind: type[e.Event]) -> Iterator[LogRecord]:
    """Every field of one kind at every odd value."""
    body = json.loads(some_event(kind).to_json())
    for number, (path, value) in enumerate(itertools.product(paths_of(body), VALUES)):
        identified = body | {"event_id": str(make.event_id(number))} if path != ("event_id",) else body
        yield LogRecord(kind.topic, 0, number, b"k", with_value(identified, path, value))


@pytest.mark.parametrize("kind", [kind for kind in e.EVENTS if kind.topic in FACT_TOPICS], ids=lambda kind: kind.__name__)
def test_what_was_taken_can_be_read_by_everybody(tmp_path: Path, kind: type[e.Event]) -> None:
    """An event at the edge of what is allowed must not stop who reads the ledger afterwards: decisions, audit, analysts, the hash."""
    ledger = ledger_at(tmp_path / "ledger.duckdb")
    ledger.open()
    try:
        ledger.take(sort_out(list(odd_neighbours(kind)), lambda event: event))
        reader = ledger.reader()
        asyncio.run(asyncio.to_thread(ledger_hash, reader))
        state = loop_state(reader, e.now())
        next_step(state, progress_timeout=timedelta(minutes=5), max_attempts=3)
        audit_entries(reader, 5000)
        adapter_records(reader)
        recorded_counts(reader)
        unpublished_epoch(reader)
        check(reader, accepted=[])
        pair_queries.pair_counts(reader)
        past_experiments(reader)
        publish_analytics(reader, tmp_path / "analytics.duckdb", e.now())
        reader.close()
        ledger.reopen()
    finally:
        ledger.close()
