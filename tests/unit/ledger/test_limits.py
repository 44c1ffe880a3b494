"""What the log may hold, the ledger takes: records up to the limit, and many large ones at once."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.events.topics import MAX_POLICY_BYTES, MAX_RECORD_BYTES
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.letters import MOST_KEPT, letter_in_full, letters, letters_to_publish
from csqa_loop.ledger.recorder import sort_out
from csqa_loop.ledger.rules.masking import masked_event
from csqa_loop.log.records import LogRecord, outgoing
from tests import events as make
from tests.ledgers import ledger_at

clean = partial(masked_event, b"secret")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = ledger_at(tmp_path / "ledger.duckdb", memory_mib=256)
    opened.open()
    yield opened
    opened.close()


def test_an_answer_whose_prompt_fills_a_record(ledger: Ledger) -> None:
    said = "How long may boots be returned? " * (MAX_RECORD_BYTES // 32)
    said = said[: MAX_RECORD_BYTES - 3000]
    answer = make.answer(1, messages=(e.ChatMessage(role="system", content=said), e.ChatMessage(role="user", content="How long?")))
    record = outgoing(answer)
    assert len(record.value or b"") > MAX_RECORD_BYTES - 4000
    odd = LogRecord(answer.topic, 0, 0, record.key, record.value)
    assert ledger.take(sort_out([odd, make.record(make.bad_case(1), 1)], clean)) == 2
    assert letters(ledger.connection) == []


@pytest.mark.parametrize("character", ["x", "\x00", "退"])
def test_a_policy_at_the_limit_in_any_characters(ledger: Ledger, character: str) -> None:
    policy = make.policy(character * (MAX_POLICY_BYTES // len(character.encode())))
    record = outgoing(policy)
    assert ledger.take(sort_out([LogRecord(policy.topic, 0, 0, record.key, record.value)], clean)) == 1
    assert letters(ledger.connection) == []


def test_many_large_letters_keep_their_place_size_hash_and_beginning(ledger: Ledger) -> None:
    records = [LogRecord("csqa.feedback", 0, number, b"c1", bytes([number]) * (MAX_RECORD_BYTES - 1000)) for number in range(40)]
    ledger.take(sort_out(records, clean))
    some = letters_to_publish(ledger.connection)
    assert {(letter.cut, letter.value_bytes, letter.offset) for letter in some} == {(True, MAX_RECORD_BYTES - 1000, n) for n in range(40)}
    assert {letter.value_sha256 for letter in some} == {hashlib.sha256(record.value or b"").hexdigest() for record in records}
    kept = letter_in_full(ledger.connection, letters(ledger.connection)[0].letter_id)
    assert kept is not None
    assert len(kept[1].value or b"") == MOST_KEPT
    assert (records[kept[1].offset].value or b"").startswith(kept[1].value or b"-")
