"""How long fetches wait."""

from types import SimpleNamespace

from csqa_loop.log.pace import Pace


def test_fetches_wait_briefly_while_records_come_and_long_when_none_did_for_a_while() -> None:
    seconds = 0.0
    fetcher = SimpleNamespace(_fetch_max_wait_ms=50)
    pace = Pace(SimpleNamespace(_fetcher=fetcher), lambda: seconds)
    waits = []
    for now, records in ((1.0, False), (4.9, False), (5.1, False), (9.0, True), (13.9, False), (14.1, False)):
        seconds = now
        pace.took(records=records)
        waits.append(fetcher._fetch_max_wait_ms)
    assert waits == [50, 50, 1000, 50, 50, 1000]
