"""What happened in one week, from the analysts' copy. Opened read-only: a report blocks no other process, and none blocks it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from csqa_loop.errors import PermanentError

_FIGURES = """
SELECT
    (SELECT count(DISTINCT message_id) FROM facts.exposures WHERE occurred_at >= $1 AND occurred_at < $2) AS questions,
    count(*) AS answers, count(DISTINCT "user") AS users, count(thumb) AS rated, count(*) FILTER (thumb = 'up') AS thumbs_up,
    count(*) FILTER (thumb = 'down') AS thumbs_down, count(*) FILTER (thumb = 'up') / nullif(count(thumb), 0) AS satisfaction,
    count(*) FILTER (NOT covered) AS unanswered, count(*) FILTER (NOT covered) / nullif(count(*), 0) AS unanswered_share,
    count(*) FILTER (handoff) AS handoffs, median(latency_ms) AS median_latency_ms,
    (SELECT count(*) FROM bad_cases WHERE occurred_at >= $1 AND occurred_at < $2) AS bad_cases,
    (SELECT count(*) FROM pairs WHERE occurred_at >= $1 AND occurred_at < $2) AS pairs
FROM answers WHERE answered_at >= $1 AND answered_at < $2
"""
_LISTS = {
    "days": """
        SELECT make_timestamp(epoch_us(answered_at))::DATE::VARCHAR AS day, count(*) AS answers, count(*) FILTER (thumb = 'up') AS thumbs_up,
            count(*) FILTER (thumb = 'down') AS thumbs_down, count(*) FILTER (NOT covered) AS unanswered
        FROM answers WHERE answered_at >= $1 AND answered_at < $2 GROUP BY day ORDER BY day""",
    "bad_cases_by_fault": """
        SELECT coalesce(fault, 'not judged') AS fault, count(*) AS cases, count(*) FILTER (became_pair) AS became_pairs
        FROM bad_cases WHERE occurred_at >= $1 AND occurred_at < $2 GROUP BY fault ORDER BY cases DESC, fault""",
    "pairs_by_source": """
        SELECT source, count(*) AS pairs, count(*) FILTER (state IN ('fresh', 'claimed')) AS trainable, count(*) FILTER (state = 'held_out') AS held_out,
            count(*) FILTER (state = 'held') AS waiting
        FROM pairs WHERE occurred_at >= $1 AND occurred_at < $2 GROUP BY source ORDER BY pairs DESC, source""",
    "runs": """
        SELECT run_id, requested_at, state, method, pairs, adapter, champion, train_seconds, coalesce(failure, cause) AS reason
        FROM runs WHERE requested_at < $2 AND last_event_at >= $1 ORDER BY requested_at, run_id""",
    "experiments": """
        SELECT experiment_id, opened_at, ended_at, verdict, champion, challenger, primary_metric, users, estimate, lower, upper, stopped_by
        FROM experiments WHERE opened_at < $2 AND (ended_at IS NULL OR ended_at >= $1) ORDER BY opened_at, experiment_id""",
    "policy_changes": """
        SELECT occurred_at, policy_id, title, version, withdrawn FROM (
            SELECT *, lag(version) OVER (PARTITION BY policy_id ORDER BY epoch, "offset", event_id) IS DISTINCT FROM version
                OR lag(withdrawn) OVER (PARTITION BY policy_id ORDER BY epoch, "offset", event_id) IS DISTINCT FROM withdrawn AS changed
            FROM facts.policies)
        WHERE changed AND occurred_at >= $1 AND occurred_at < $2 ORDER BY occurred_at, policy_id""",
}


def monday_of(week: str) -> date:
    """The first day of `2026-W19`.

    Raises:
        PermanentError: it is no ISO week.
    """
    try:
        return datetime.strptime(f"{week}-1", "%G-W%V-%u").replace(tzinfo=UTC).date()
    except ValueError:
        raise PermanentError(f"--week {week!r} is no ISO week, such as 2026-W19") from None


def weekly(file: Path, week: str | None) -> dict[str, Any]:
    """The figures of an ISO week, Monday to Sunday in UTC, and those of the week before; lists of what there was.

    Args:
        file: the analysts' copy.
        week: such as `2026-W19`; None: the week in which the copy was made.

    Raises:
        PermanentError: there is no copy, DuckDB cannot read it, or the week is none.
    """
    named_monday = monday_of(week) if week else None
    with _opened(file) as copy:
        as_of: datetime = _rows(copy, "SELECT as_of FROM published")[0]["as_of"]
        monday = named_monday or as_of.date() - timedelta(days=as_of.weekday())
        start = datetime(monday.year, monday.month, monday.day, tzinfo=UTC)
        span, before = (start, start + timedelta(weeks=1)), (start - timedelta(weeks=1), start)
        figures = {name: _rows(copy, _FIGURES, *period)[0] for name, period in (("figures", span), ("week_before", before))}
        lists = {name: _rows(copy, query, *span) for name, query in _LISTS.items()}
    year, number, _ = monday.isocalendar()
    return {"week": f"{year}-W{number:02}", "since": span[0], "until": span[1], "as_of": as_of, **figures, **lists}


@contextmanager
def _opened(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    if not file.is_file():
        raise PermanentError(f"{file} does not exist; the loop publishes it: start it with `csqa up`, or name its folder with CSQA_VAR")
    try:
        with duckdb.connect(str(file), read_only=True) as copy:
            copy.execute("SET TimeZone = 'UTC'")
            yield copy
    except duckdb.Error as error:
        raise PermanentError(f"{file} cannot be read as the analysts' copy: {error}") from error


def _rows(copy: duckdb.DuckDBPyConnection, query: str, *parameters: datetime) -> list[dict[str, Any]]:
    result = copy.execute(query, list(parameters))
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
