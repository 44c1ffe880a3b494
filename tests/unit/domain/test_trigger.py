"""When a run starts and what it is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.domain.trigger import Backlog, TrainingReason, TriggerPolicy, data_hash, due, run_id

POLICY = TriggerPolicy(min_pairs=20, min_users=5)
ROWS = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5)), max_size=6)


@pytest.mark.parametrize(
    ("fresh", "users", "in_flight", "reason"),
    [
        (0, 0, False, None),
        (19, 19, False, None),
        (20, 4, False, None),
        (20, 5, False, TrainingReason.ENOUGH_PAIRS),
        (500, 300, False, TrainingReason.ENOUGH_PAIRS),
        (20, 20, True, None),
        (500, 300, True, None),
    ],
)
def test_enough_pairs_of_enough_customers_and_nothing_in_flight(fresh: int, users: int, in_flight: bool, reason: TrainingReason | None):
    assert due(Backlog(fresh_pairs=fresh, users=users, run_in_flight=in_flight), POLICY) is reason


@given(rows=ROWS, data=st.data())
def test_the_hash_knows_no_order(rows: list, data: st.DataObject):
    assert data_hash(data.draw(st.permutations(rows))) == data_hash(rows)


@given(one=ROWS, other=ROWS)
def test_other_data_is_another_hash(one: list, other: list):
    assert (data_hash(one) == data_hash(other)) == (sorted(one) == sorted(other))


def test_fields_cannot_run_into_each_other():
    assert data_hash([("a", "bc", "", "")]) != data_hash([("ab", "c", "", "")])


def test_the_same_champion_and_pairs_are_the_same_run():
    assert run_id("base", "h") == run_id("base", "h")
    assert len({run_id("base", "h"), run_id("a-0123456789abcdef", "h"), run_id("base", "i")}) == 3
    assert run_id("base", "h").startswith("r-")
