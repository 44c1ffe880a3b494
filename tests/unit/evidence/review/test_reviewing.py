"""Which decisions make sense, and which of them are one."""

from dataclasses import replace

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.evidence.review.rules.reviewing import Decision, Item, Past, decided, decision_in, import_id, says_the_same
from csqa_loop.evidence.rules.quality import tokens_in
from tests import events as make

ANSWER = Item("v-1", "answer", "m1", "m1", "c1", "open")
PAIR = Item("v-2", "pair", "p-1", "m1", "c1", "open")
PAST = Past("e-1", "reject", None, "bert", make.at(60))
DONE = replace(ANSWER, state="decided", last=PAST)


def decide(item: Item, *decision: str):
    return decided(item, Decision(*decision), "anna", make.at(0), token_limit=100, tokens_in=tokens_in)


def test_a_decision_becomes_a_fact() -> None:
    event = decide(ANSWER, "correct", "  14 days. ", "sure")
    assert (event.review_id, event.subject, event.kind, event.key, event.reviewer) == ("v-1", "m1", "answer", "c1", "anna")
    assert (event.action, event.corrected_answer, event.note) == ("correct", "14 days.", "sure")
    assert decide(PAIR, "approve").action == "approve"
    assert decide(DONE, "reopen").action == "reopen"


@pytest.mark.parametrize(
    ("item", "decision", "reason"),
    [
        (ANSWER, ("correct",), "corrected_answer: is empty"),
        (ANSWER, ("correct", " \n "), "corrected_answer: is empty"),
        (ANSWER, ("correct", "word " * 100), "about 167 tokens; training takes at most 100"),
        (ANSWER, ("correct", "x" * 15_001), "corrected_answer: has 15001 characters"),
        (ANSWER, ("approve",), "only a held pair can be approved"),
        (replace(PAIR, too_long=True), ("approve",), "p-1 is longer than training takes: correct it to a shorter answer, or reject it"),
        (
            replace(PAIR, masked=True),
            ("approve",),
            "p-1 would teach a label that stands where personal data was masked: correct it, or reject it",
        ),
        (PAIR, ("reject", "14 days."), "belongs to the action 'correct'"),
        (replace(PAIR, imported=True), ("correct", "14 days."), "comes from an imported file"),
        (DONE, ("correct", "14 days."), "bert decided 'reject' at 2026-01-05 09:01 UTC; `reopen` undoes that"),
        (ANSWER, ("reopen",), "is open: there is no decision to undo"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(item: Item, decision: tuple[str, ...], reason: str) -> None:
    with pytest.raises(PermanentError, match=reason):
        decide(item, *decision)


def test_rows_of_files() -> None:
    assert decision_in({"review_id": "v-1", "action": " ", "corrected_answer": None, "note": "later"}) is None
    assert decision_in({"corrected_answer": " 14 days. "}) == Decision("correct", "14 days.")
    assert decision_in({"action": "Reject", "corrected_answer": ""}) == Decision("reject")
    with pytest.raises(PermanentError, match="action: is 'delete'; it must be one of correct, approve, reject, reopen"):
        decision_in({"action": "delete"})
    with pytest.raises(PermanentError, match="note: has 1501 characters"):
        decision_in({"action": "reject", "note": "x" * 1501})


def test_an_imported_decision_is_one_until_somebody_undoes_it() -> None:
    decision = Decision("correct", "14 days.")
    assert import_id(ANSWER, decision) == import_id(ANSWER, Decision("correct", " 14 days.\n"))
    assert import_id(ANSWER, decision) != import_id(ANSWER, Decision("correct", "15 days."))
    reopened = replace(ANSWER, last=replace(PAST, event_id="e-2", action="reopen"))
    assert import_id(reopened, decision) != import_id(ANSWER, decision)
    assert says_the_same(DONE, Decision("reject"))
    assert not says_the_same(ANSWER, Decision("reject"))
    assert not says_the_same(DONE, decision)
