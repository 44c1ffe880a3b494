"""Taking batches: neighbours of bad records, refused disks, privacy once more."""

from functools import partial

import pytest

from csqa_loop import events as e
from csqa_loop.errors import TransientError
from csqa_loop.ledger.recorder import Recorder, sort_out
from csqa_loop.ledger.rules.batch import Batch
from csqa_loop.ledger.rules.masking import masked_event
from csqa_loop.log.records import LogRecord
from csqa_loop.text.masking import Known
from tests import events as make

SECRET = b"k" * 32


def test_a_bad_record_is_a_letter_with_its_reason_and_claimed_id() -> None:
    bad = LogRecord("csqa.feedback", 2, 9, b"c1", b'{"event_id": "ABC", "occurred_at": "yesterday"}')
    batch = sort_out([bad, make.record(make.thumb(1), 10, 2)], lambda event: event)
    assert [record.offset for record in batch.records] == [10]
    (letter,) = batch.letters
    assert letter.event_id == "abc"
    assert "csqa.feedback" in letter.reason
    assert [(mark.partition, mark.next_offset) for mark in batch.marks] == [(2, 11)]


async def test_a_refused_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def no_sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("asyncio.sleep", no_sleep)
    tries: list[Batch] = []

    async def take(batch: Batch) -> int:
        tries.append(batch)
        if len(tries) < 4:
            assert recorder.trouble is None or "full" in recorder.trouble
            raise TransientError("the disk is full")
        return len(batch.facts)

    recorder = Recorder(take)
    assert await recorder.record(make.batch(make.thumb(1))) == 1
    assert len({id(batch) for batch in tries}) == 1
    assert pauses == sorted(pauses)
    assert recorder.trouble is None


def test_intake_masks_what_a_frontend_did_not() -> None:
    clean = partial(masked_event, SECRET)
    system = e.ChatMessage(role="system", content="Write to returns desk jane@harbour.example.")
    told = make.answer(
        1,
        user="jane@example.com",
        question="I am jane@example.com",
        messages=(system, e.ChatMessage(role="user", content="jane@example.com")),
    )
    masked = clean(told)
    assert isinstance(masked, e.AnswerGiven)
    assert "jane@example.com" not in masked.to_json().decode()
    assert masked.messages[0] == system
    assert masked.user.startswith("u-")
    assert clean(masked) == masked
    thumb = clean(make.thumb(1).model_copy(update={"comment": "call 13800138000"}))
    assert isinstance(thumb, e.FeedbackGiven)
    assert "13800138000" not in str(thumb.comment)


def test_a_contact_that_the_events_own_policy_states_stays() -> None:
    system = e.ChatMessage(role="system", content="Policy:\n\nReturns: write to jo.b@harbour.example or call 0171/1234567.")
    told = make.answer(
        1,
        question="Is 0171 1234567 yours? Mine is 13800138000.",
        answer="Yes: 0171/1234567, or jo.b@harbour.example.",
        messages=(system, e.ChatMessage(role="user", content="Is 0171 1234567 yours? Mine is 13800138000.")),
    )
    masked = masked_event(SECRET, told)
    assert isinstance(masked, e.AnswerGiven)
    assert masked.answer == told.answer
    assert masked.question == masked.messages[1].content == "Is 0171 1234567 yours? Mine is [phone]."
    assert masked_event(SECRET, masked) == masked
    thumb = make.thumb(1).model_copy(update={"comment": "call 0171/1234567"})
    assert "0171" not in str(masked_event(SECRET, thumb).comment)  # type: ignore[attr-defined]
    assert masked_event(SECRET, thumb, Known.of(numbers=["+49 171 1234567"])).comment == thumb.comment  # type: ignore[attr-defined]
