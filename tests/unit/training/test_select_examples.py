"""Which rated answers a training set holds."""

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.evidence.rules.examples import UnpairedExample
from csqa_loop.training.rules.selection import SelectionPolicy, select_examples

START = datetime(2026, 5, 4, 9, tzinfo=UTC)
POLICY = SelectionPolicy(max_pairs=100)
_RNG = random.Random(2)
SUBJECTS = ["".join(_RNG.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(40)) for _ in range(60)]


def example(
    number: int, subject: int | None = None, *, liked: bool | None = True, user: str | None = None, category: str = ""
) -> UnpairedExample:
    asked = f"May I {SUBJECTS[number if subject is None else subject]}?"
    who = f"u-{number}" if user is None else user
    return UnpairedExample(f"m-{number:03}", asked, "[]", f"Yes: {asked}", liked, START + timedelta(minutes=number), who, category=category)


def taken(*examples: UnpairedExample, protected: tuple[str, ...] = (), policy: SelectionPolicy = POLICY) -> list[str]:
    return [one.example_id for one in select_examples(examples, protected, policy)]


def test_one_answer_to_one_question_counts_once():
    assert taken(example(2, subject=1), example(1), example(3)) == ["m-001", "m-003"]


def test_what_some_like_and_others_do_not_teaches_nothing():
    assert taken(example(1), example(2, subject=1, liked=False), example(3)) == ["m-003"]


def test_what_nearly_repeats_a_held_out_question_is_left_out():
    assert taken(example(1), example(2), protected=(f"may i {SUBJECTS[1]}",)) == ["m-002"]


def test_nobody_fills_the_set():
    mob = [example(number, user="mob") for number in range(30)]
    assert len(taken(*mob, *(example(number) for number in range(30, 40)))) == 11
    assert len(taken(*(example(number, user="", category="returns") for number in range(20)), policy=POLICY)) == 20


@given(
    drawn=st.lists(
        st.tuples(st.integers(0, 20), st.booleans(), st.sampled_from(["", "a", "b", "c"]), st.sampled_from(["x", "y"])), max_size=40
    ),
    share=st.sampled_from([0.02, 0.3, 1.0]),
)
def test_no_share_is_passed_whatever_is_offered(drawn, share: float):
    offered = [
        example(number, subject=s, liked=liked, user=user, category=category) for number, (s, liked, user, category) in enumerate(drawn)
    ]
    policy = SelectionPolicy(max_pairs=10, user_share=share, category_share=share)
    chosen = select_examples(offered, (), policy)
    cap = max(1, int(share * len(chosen) + 1e-9))
    assert len(chosen) <= 10
    for of in ("user", "category"):
        names = [getattr(one, of) for one in chosen if getattr(one, of)]
        assert all(names.count(name) <= cap for name in set(names))
