"""When a run starts and what it is called."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.training.rules.trigger import Backlog, TrainingReason, TriggerPolicy, data_hash, due, run_id

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
POLICY = TriggerPolicy(min_pairs=20, min_users=5)
ROWS = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5)), max_size=6)


@pytest.mark.parametrize(
    ("fresh", "users", "reason"),
    [(0, 0, None), (19, 19, None), (20, 4, None), (20, 5, TrainingReason.ENOUGH_PAIRS), (500, 300, TrainingReason.ENOUGH_PAIRS)],
)
def test_enough_pairs_of_enough_customers(fresh: int, users: int, reason: TrainingReason | None):
    assert due(Backlog(fresh, users), POLICY, NOW) is reason


@pytest.mark.parametrize(
    ("fresh", "users", "hours", "reason"),
    [
        (8, 8, 23, None),
        (8, 8, 24, TrainingReason.OLD_PAIRS),
        (7, 7, 48, None),
        (8, 4, 48, None),
        (20, 5, 48, TrainingReason.ENOUGH_PAIRS),
    ],
)
def test_old_pairs_need_not_be_as_many(fresh: int, users: int, hours: int, reason: TrainingReason | None):
    policy = replace(POLICY, fewest_pairs=8, max_age=timedelta(hours=24))
    assert due(Backlog(fresh, users, NOW - timedelta(hours=hours)), policy, NOW) is reason


@pytest.mark.parametrize(
    ("schedule", "last_run", "runs"),
    [
        ("daily", None, True),
        ("daily", NOW - timedelta(hours=12, seconds=1), True),
        ("daily", NOW - timedelta(hours=12), False),
        ("weekly", NOW - timedelta(days=2, hours=12), False),  # Monday, 00:00
        ("weekly", NOW - timedelta(days=2, hours=12, seconds=1), True),
        ("weekly", NOW - timedelta(days=365), True),
        ("daily", NOW + timedelta(hours=13), False),  # the clock was set back since
        ("weekly", NOW + timedelta(days=6), False),
    ],
)
def test_a_schedule_starts_one_run_a_period_from_the_fewest_pairs_on(schedule, last_run: datetime | None, runs: bool):
    policy = TriggerPolicy(min_pairs=20, fewest_pairs=3, schedule=schedule)
    assert due(Backlog(3, 3, NOW, last_run), policy, NOW) is (TrainingReason.SCHEDULED if runs else None)
    assert due(Backlog(2, 2, NOW, last_run), policy, NOW) is None


@given(
    fresh=st.integers(0, 40),
    users=st.integers(0, 40),
    policy=st.builds(
        TriggerPolicy,
        min_pairs=st.integers(1, 30),
        min_users=st.integers(0, 30),
        fewest_pairs=st.integers(1, 30),
        max_age=st.none() | st.just(timedelta(hours=1)),
        schedule=st.sampled_from(["when_due", "daily", "weekly"]),
    ),
)
def test_no_rule_starts_a_run_below_the_fewest_pairs(fresh: int, users: int, policy: TriggerPolicy):
    if due(Backlog(fresh, users, NOW - timedelta(days=9)), policy, NOW):
        assert fresh >= policy.fewest


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
