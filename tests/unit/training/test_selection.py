"""Which pairs a training set holds."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.text.similarity import signature, similarity
from csqa_loop.training.rules.selection import LeftOut, LeftOutReason, SelectionPolicy, select

START = datetime(2026, 5, 4, 9, tzinfo=UTC)
POLICY = SelectionPolicy(max_pairs=100)
_RNG = random.Random(1)
# Texts of random letters are like no other.
SUBJECTS = ["".join(_RNG.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(40)) for _ in range(600)]


def pair(
    number: int, user: str | None = None, contributor: str = "agent", minutes: float | None = None, subject: str | None = None
) -> Pair:
    subject = subject or SUBJECTS[number]
    return Pair(
        pair_id=f"p-{number:04}", message_id=f"m-{number}", policy_id="returns", section="Boots", held_out=False, question=f"May I {subject}?",
        prompt="[]", chosen=f"You may {subject}.", rejected="No.", source="correction", weight=1.0, adapter="base", answer_event_id=f"a-{number}",
        evidence_event_id=f"b-{number}", occurred_at=START + timedelta(minutes=number if minutes is None else minutes),
        user=f"u-{number}" if user is None else user, contributor=contributor,
    )  # fmt: skip


def left(pairs: list[Pair], policy: SelectionPolicy = POLICY, protected: tuple[str, ...] = ()) -> dict[str, LeftOutReason]:
    return {entry.pair_id: entry.reason for entry in select(pairs, protected, policy).left_out}


def test_the_oldest_pairs_come_first():
    chosen = select([pair(3), pair(1), pair(2)], (), SelectionPolicy(max_pairs=2))
    assert [each.pair_id for each in chosen.taken] == ["p-0001", "p-0002"]
    assert chosen.left_out == (LeftOut("p-0003", LeftOutReason.BEYOND_MAX, "the set holds 2"),)
    assert str(chosen) == "2 pairs of 2 customers; left out: 1 beyond_max"


def test_what_nearly_repeats_a_held_out_question_is_dropped_and_named():
    question = f"may i {SUBJECTS[1]}"
    chosen = select([pair(1), pair(2)], (question,), POLICY)
    assert chosen.left_out == (LeftOut("p-0001", LeftOutReason.NEAR_REPEAT_OF_HELD_OUT, question),)


def test_the_newest_are_held_back_to_measure_and_what_nearly_repeats_them_is_left_out():
    policy = replace(POLICY, newest_share=0.2)
    chosen = select([pair(number) for number in range(10)], (), policy)
    assert [each.pair_id for each in chosen.held_back] == ["p-0008", "p-0009"]
    assert len(chosen.taken) == 8
    assert str(chosen) == "8 pairs of 8 customers; 2 newest held back"
    # A question that was asked before stays with the others, or the most frequent ones would never be trained on.
    asked_again = [*(pair(number) for number in range(9)), pair(9, subject=SUBJECTS[1])]
    chosen = select(asked_again, (), policy)
    assert [each.pair_id for each in chosen.held_back] == ["p-0008"]
    assert chosen.left_out == (LeftOut("p-0009", LeftOutReason.NEAR_DUPLICATE, "p-0001"),)
    assert select([pair(number) for number in range(4)], (), policy).held_back == ()


def test_no_more_is_held_back_than_its_share_of_the_largest_set():
    chosen = select([pair(number) for number in range(50)], (), SelectionPolicy(max_pairs=10, newest_share=0.2))
    assert [each.pair_id for each in chosen.held_back] == ["p-0048", "p-0049"]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), max_size=25, unique_by=lambda each: each[0]),
    st.floats(0, 0.5),
)
def test_nothing_that_is_held_back_is_trained_on(drawn: list[tuple[int, int]], share: float):
    pairs = [pair(number, subject=SUBJECTS[subject], minutes=number) for number, subject in drawn]
    chosen = select(pairs, (), replace(POLICY, newest_share=share))
    parts = [*(each.pair_id for each in (*chosen.taken, *chosen.held_back)), *(each.pair_id for each in chosen.left_out)]
    assert sorted(parts) == sorted(each.pair_id for each in pairs)
    assert not {each.question for each in chosen.held_back} & {each.question for each in chosen.taken}


def test_of_near_duplicates_the_heaviest_stays_then_the_oldest():
    same = SUBJECTS[0]
    pairs = [pair(1, subject=same), pair(2, subject=same), replace(pair(3, subject=same), weight=0.5)]
    assert left(pairs) == {"p-0002": LeftOutReason.NEAR_DUPLICATE, "p-0003": LeftOutReason.NEAR_DUPLICATE}
    heavier = [replace(pairs[0], weight=0.5), *pairs[1:]]
    assert left(heavier) == {"p-0001": LeftOutReason.NEAR_DUPLICATE, "p-0003": LeftOutReason.NEAR_DUPLICATE}


def test_one_question_with_two_answers_is_no_duplicate():
    assert left([pair(1), replace(pair(2), question=pair(1).question)]) == {}


def test_a_stored_signature_is_used():
    pairs = [pair(1), pair(2)]
    stored = [replace(each, signature=signature(f"{each.question}\n{each.chosen}")) for each in pairs]
    assert select(stored, (), POLICY).left_out == select(pairs, (), POLICY).left_out
    assert left([replace(each, signature=stored[0].signature) for each in stored]) == {"p-0002": LeftOutReason.NEAR_DUPLICATE}


def test_a_day_ends_at_midnight_utc():
    policy = SelectionPolicy(max_pairs=100, user_share=1.0, user_per_day=2)
    minutes = [0, 1, 2, 15 * 60 - 1, 15 * 60]
    assert left([pair(number, user="u", minutes=at) for number, at in enumerate(minutes)], policy) == {
        "p-0002": LeftOutReason.USER_PER_DAY,
        "p-0003": LeftOutReason.USER_PER_DAY,
    }
    by_contributor = SelectionPolicy(max_pairs=100, contributor_per_day=1)
    assert left([pair(1), pair(2), pair(3, contributor="other")], by_contributor) == {"p-0002": LeftOutReason.CONTRIBUTOR_PER_DAY}


@pytest.mark.parametrize(("others", "of_one"), [(5, 1), (97, 1), (98, 2), (150, 3), (500, 10)])
def test_a_user_has_at_most_2_percent_and_never_less_than_one_pair(others: int, of_one: int):
    policy = SelectionPolicy(max_pairs=1000, user_per_day=1000, contributor_per_day=1000)
    flood = [pair(number, user="u-flood") for number in range(90)]
    chosen = select([*flood, *(pair(90 + number) for number in range(others))], (), policy)
    assert Counter(each.user for each in chosen.taken)["u-flood"] == of_one
    assert len(chosen.taken) == others + of_one
    assert {entry.reason for entry in chosen.left_out} == {LeftOutReason.USER_SHARE}


def test_a_pair_that_names_nobody_is_bounded_by_its_contributor_alone():
    imported = [pair(number, user="", contributor="operator") for number in range(20)]
    chosen = select(imported, (), POLICY)
    assert (len(chosen.taken), chosen.users) == (20, 0)
    half = select([*imported, pair(30, contributor="a")], (), SelectionPolicy(max_pairs=100, contributor_share=0.5))
    assert [each.contributor for each in half.taken] == ["operator", "a"]


def test_a_reviewer_who_floods_is_at_most_half_of_a_set_unless_there_is_no_other():
    flood = [pair(number, contributor="mallory") for number in range(60)]
    assert len(select(flood, (), POLICY).taken) == 60
    honest = [pair(number, contributor="ann" if number % 2 else "bob") for number in range(100, 120)]
    taken = select([*flood, *honest], (), POLICY).taken
    assert Counter(each.contributor for each in taken) == {"mallory": 20, "ann": 10, "bob": 10}
    assert len(select([*flood, honest[0]], (), SelectionPolicy(max_pairs=100, contributor_share=1)).taken) == 61


def test_what_customers_voted_for_and_what_a_file_held_is_no_reviewers_word():
    said = [replace(pair(number, contributor="customers"), source="rated") for number in range(20)]
    shown = [replace(pair(number, contributor="ops"), source="import") for number in range(20, 40)]
    reviewed = [pair(number, contributor=f"agent {number % 2}") for number in range(40, 44)]
    assert len(select([*said, *shown, *reviewed], (), POLICY).taken) == 44


_OFFERS = st.lists(
    st.builds(
        lambda number, user, contributor, minutes, subject: pair(number, f"u-{user}", f"c-{contributor}", minutes, SUBJECTS[subject]),
        st.integers(0, 500), st.integers(0, 8), st.integers(0, 3), st.integers(0, 3000), st.integers(0, 40),
    ),
    max_size=40,
    unique_by=lambda each: each.pair_id,
)  # fmt: skip
_POLICIES = st.builds(
    SelectionPolicy,
    max_pairs=st.integers(1, 40),
    user_share=st.sampled_from([0.02, 0.2, 0.5, 1.0]),
    contributor_share=st.sampled_from([0.1, 0.5, 1.0]),
    user_per_day=st.integers(1, 5),
    contributor_per_day=st.integers(1, 9),
)


@given(_OFFERS, _POLICIES, st.sets(st.integers(0, 40)), st.randoms())
def test_every_pair_is_taken_or_left_out_once_whatever_the_order(
    pairs: list[Pair], policy: SelectionPolicy, held_out: set[int], shuffler: random.Random
):
    protected = [f"May I {SUBJECTS[number]}?" for number in sorted(held_out)]
    chosen = select(pairs, protected, policy)
    names = [each.pair_id for each in chosen.taken] + [entry.pair_id for entry in chosen.left_out]
    assert sorted(names) == sorted(each.pair_id for each in pairs)
    shuffler.shuffle(pairs)
    shuffler.shuffle(protected)
    assert select(pairs, protected, policy) == chosen


@given(_OFFERS, _POLICIES, st.sets(st.integers(0, 40)))
def test_no_cap_is_exceeded(pairs: list[Pair], policy: SelectionPolicy, held_out: set[int]):
    protected = [f"May I {SUBJECTS[number]}?" for number in held_out]
    taken = select(pairs, protected, policy).taken
    assert len(taken) <= policy.max_pairs
    assert all(count <= max(1, policy.user_share * len(taken)) for count in Counter(each.user for each in taken).values())
    reviewers = Counter(each.reviewer for each in taken)
    assert len(reviewers) == 1 or all(count <= max(1, policy.contributor_share * len(taken)) for count in reviewers.values())
    days = Counter((each.user, each.occurred_at.date()) for each in taken)
    assert all(count <= policy.user_per_day for count in days.values())
    assert all(
        count <= policy.contributor_per_day for count in Counter((each.contributor, each.occurred_at.date()) for each in taken).values()
    )
    assert not {each.question for each in taken} & set(protected)
    signed = [signature(f"{each.question}\n{each.chosen}") for each in taken]
    assert all(similarity(one, other) < policy.near_duplicate for n, one in enumerate(signed) for other in signed[:n])


@given(_OFFERS, st.sampled_from([0.02, 0.1, 0.3]))
def test_no_larger_set_would_keep_the_share(pairs: list[Pair], share: float):
    """Counted by hand: of every size, the pairs that all users together may give to a set of that size."""
    distinct = list({each.question: each for each in pairs}.values())
    taken = select(distinct, (), SelectionPolicy(max_pairs=1000, user_share=share, user_per_day=1000, contributor_share=1)).taken
    counts = Counter(each.user for each in distinct)
    possible = [size for size in range(len(distinct) + 1) if sum(min(n, max(1, int(share * size + 1e-9))) for n in counts.values()) >= size]
    assert len(taken) == max(possible)
