"""Pairs, and what may never be trained on."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.evidence.rules.pairs import Answer, Better, Pair, PairPolicy, pair_from
from csqa_loop.ledger.rules.holdout import held_out
from csqa_loop.settings.learning import Source
from csqa_loop.text.normal import normalised

ANSWER = Answer(
    event_id="a1", message_id="m1", conversation_id="c1", user="u-1", question="May I return a laptop?",
    prompt='[{"role": "system", "content": "Laptops: 14 days."}, {"role": "user", "content": "May I return a laptop?"}]',
    answer="You have 30 days. ", source="model", adapter="base", policy_id="returns", section="Electronics", quoted=(("returns", "0123456789ab"),),
)  # fmt: skip
BETTER = Better("b1", " You have 14 days.", "correction", "ann", datetime(2026, 5, 4, tzinfo=UTC))
POLICY = PairPolicy()


def made(answer: Answer = ANSWER, better: Better = BETTER) -> Pair:
    pair = pair_from(answer, better, POLICY)
    assert pair is not None
    return pair


def test_a_correction_makes_a_pair_that_traces_back():
    pair = made()
    assert (pair.chosen, pair.rejected, pair.prompt) == ("You have 14 days.", "You have 30 days.", ANSWER.prompt)
    assert (pair.answer_event_id, pair.evidence_event_id, pair.message_id) == ("a1", "b1", "m1")
    assert (pair.user, pair.contributor, pair.quoted, pair.numbers) == ("u-1", "ann", (("returns", "0123456789ab"),), ("14",))
    assert pair.held_out == held_out("returns", "Electronics")
    assert (pair.weight, pair.held) == (1.0, ())


@pytest.mark.parametrize("corrected", ["", "  \n", "You have 30 days", "you HAVE 30 days!", "Ｙｏｕ have ３０ days."])
def test_nothing_better_makes_no_pair(corrected: str):
    assert pair_from(ANSWER, replace(BETTER, answer=corrected), POLICY) is None


@pytest.mark.parametrize("source", ["cache", "tool", "refusal"])
def test_only_what_the_model_wrote_is_blamed_on_the_model(source: str):
    assert pair_from(replace(ANSWER, source=source), BETTER, POLICY) is None


def test_the_id_is_of_answer_and_evidence_alone():
    assert made().pair_id == made(better=replace(BETTER, answer="Fourteen days.")).pair_id
    assert made().pair_id != made(better=replace(BETTER, event_id="b2")).pair_id
    assert made().pair_id != made(answer=replace(ANSWER, event_id="a2")).pair_id


@pytest.mark.parametrize("source", ["rated", "resample", "judge"])
def test_what_no_person_wrote_must_stand_in_the_prompt(source: Source):
    assert made(better=replace(BETTER, source=source)).held == ()
    invented = made(better=replace(BETTER, source=source, answer="You have 60 days."))
    assert invented.held == ("unsupported: states 60, which the prompt does not",)
    assert made(better=replace(BETTER, answer="You have 60 days.")).held == ()


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str):
    assert normalised(normalised(text)) == normalised(text)
