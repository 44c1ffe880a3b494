"""Questions about bad cases: which answers were complained about in a period, and all questions of the period."""

from datetime import UTC, datetime

import duckdb

from csqa_loop.evidence.rules.blame import Fault
from csqa_loop.evidence.rules.case_report import BadCase, CaseReport, QuestionAsked, report_of

_CASES = """
SELECT event_id::VARCHAR, opened_at, message_id, question, first_reason, fault, detail, policy_id, section, category, missing_numbers FROM blamed_answers
WHERE ($since IS NULL OR opened_at >= $since) AND ($until IS NULL OR opened_at < $until) ORDER BY opened_at, message_id
"""
_QUESTIONS = """
WITH told AS (
    SELECT message_id, question FROM answers WHERE ($since IS NULL OR occurred_at >= $since) AND ($until IS NULL OR occurred_at < $until)
    QUALIFY is_first_answer(message_id, occurred_at, event_id)
), reported AS (
    SELECT DISTINCT message_id FROM bad_cases
)
SELECT t.question, count(*), count(*) FILTER (r.thumb = 'up'), count(*) FILTER (r.thumb = 'down'), count(b.message_id)
FROM told t LEFT JOIN last_thumbs r USING (message_id) LEFT JOIN reported b USING (message_id) GROUP BY t.question
"""


def report(connection: duckdb.DuckDBPyConnection, since: datetime | None = None, until: datetime | None = None) -> CaseReport:
    """The report over answers whose first complaint fell into [since, until); None leaves that end open.

    What was asked counts by when it was answered.
    """
    period = {"since": since, "until": until}
    cases = [
        BadCase(
            event_id,
            opened_at.astimezone(UTC),
            message,
            question,
            reason,
            Fault(fault),
            detail,
            policy_id,
            section,
            category,
            tuple(numbers),
        )
        for event_id, opened_at, message, question, reason, fault, detail, policy_id, section, category, numbers in connection.execute(
            _CASES, period
        ).fetchall()
    ]
    return report_of(cases, [QuestionAsked(*row) for row in connection.execute(_QUESTIONS, period).fetchall()], since, until)
