"""What the log vouches for of a publisher's dates."""

from datetime import datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.ledger.moments import TOLERANCE, Stamps, moments
from csqa_loop.log.records import microseconds
from tests import events as make

AT = make.at(0)
FAR = datetime(9999, 12, 31, 23, 59, 59, tzinfo=AT.tzinfo)
LONG_AGO = datetime(1, 1, 1, tzinfo=AT.tzinfo)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def dated(said: datetime, record: datetime | None, *, stamped: bool, carried: datetime | None = None) -> dict[str, object]:
    """One event's columns; its record lies at offset 7."""
    stamp = -1 if record is None else microseconds(record) // 1000
    found = moments(
        pa.array([said], pa.timestamp("us", tz="UTC")),
        Stamps.of([7], [stamp], [stamped], [None if carried is None else microseconds(carried)]),
    )
    return {name: getattr(found, name)[0].as_py() for name in ("occurred_at", "claimed_at", "recorded_at", "offset")}


@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("ahead", [HOUR, FAR - AT])
def test_a_date_in_the_future_of_its_record_is_the_records(stamped: bool, ahead: timedelta) -> None:
    assert dated(AT + ahead, AT, stamped=stamped) == {"occurred_at": AT, "claimed_at": AT + ahead, "recorded_at": AT, "offset": 7}


@pytest.mark.parametrize(
    ("behind", "stamped", "recorded"),
    [
        (HOUR, True, AT),  # a slow clock
        (HOUR, False, AT - HOUR),  # the producer dated the record too
        (2 * DAY, True, AT - 2 * DAY),  # older data
        (-timedelta(seconds=3), True, AT),
        (-timedelta(seconds=3), False, AT + timedelta(seconds=3)),
    ],
)
def test_a_date_of_the_past_is_believed_and_decides_nothing_where_the_broker_dates(
    behind: timedelta, stamped: bool, recorded: datetime
) -> None:
    found = dated(AT - behind, AT, stamped=stamped)
    assert (found["occurred_at"], found["claimed_at"], found["recorded_at"]) == (AT - behind, None, recorded)


def test_a_record_without_a_timestamp_is_believed() -> None:
    for said in (AT, FAR, LONG_AGO):
        assert dated(said, None, stamped=False) == {"occurred_at": said, "claimed_at": None, "recorded_at": said, "offset": 7}


def test_what_is_carried_over_keeps_its_moment_and_comes_before_everything_new() -> None:
    found = dated(AT - DAY, AT, stamped=True, carried=AT - HOUR)
    assert found["recorded_at"] == AT - HOUR
    assert found["offset"] < 0  # type: ignore[operator]
    assert dated(AT - DAY, AT, stamped=True, carried=AT + HOUR)["recorded_at"] == AT


@given(stamp=st.integers(-(2**63), 2**63 - 1), carried=st.none() | st.integers(0, 10**18 - 1), stamped=st.booleans())
def test_whatever_number_a_record_has_there_is_a_moment(stamp: int, carried: int | None, stamped: bool) -> None:
    found = moments(pa.array([AT], pa.timestamp("us", tz="UTC")), Stamps.of([7], [stamp], [stamped], [carried]))
    for name in ("occurred_at", "claimed_at", "recorded_at"):
        assert getattr(found, name)[0].as_py() is None or LONG_AGO <= getattr(found, name)[0].as_py() <= datetime.max.replace(
            tzinfo=AT.tzinfo
        )


@given(said=st.timedeltas(LONG_AGO - AT, FAR - AT), stamped=st.booleans())
def test_no_moment_lies_in_the_future_of_its_record(said: timedelta, stamped: bool) -> None:
    found = dated(AT + said, AT, stamped=stamped)
    assert max(found["occurred_at"], found["recorded_at"]) <= AT + TOLERANCE  # type: ignore[type-var,operator]
    assert AT + said in (found["occurred_at"], found["claimed_at"])
