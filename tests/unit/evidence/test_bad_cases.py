"""The report's questions to a real ledger: which complaints make a case, when it was opened, and what was asked."""

import resource
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.evidence.bad_cases import report
from csqa_loop.ledger import Ledger
from tests import events as make
from tests.ledgers import ledger_at

BOOTS = "# Returns\n\n## Footwear\n\nBoots may be returned within 45 days if the soles are clean.\n"
GOOD = "Boots may be returned within 45 days."
WRONG = "Boots may be returned within 90 days."


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def asked(number: int, question: str = "How long may I return boots?", **fields: object) -> e.AnswerGiven:
    policy = make.policy(BOOTS)
    quote = e.Citation(chunk_id="returns#0", policy_id="returns", version=policy.version, section="Returns > Footwear", score=0.9)
    messages = (e.ChatMessage(role="system", content=f"Policy:\n\n{BOOTS}"), e.ChatMessage(role="user", content=question))
    return make.answer(number, question=question, messages=messages, citations=(quote,), **fields)


def take(ledger: Ledger, *events: e.Event) -> None:
    ledger.take(make.batch(*events))


def test_one_answer_is_one_case_under_its_first_reason_and_its_best_evidence(ledger: Ledger) -> None:
    take(ledger, make.policy(BOOTS), asked(1), make.bad_case(1, None), make.review(1, corrected=WRONG), make.thumb(1))
    told = report(ledger.connection)
    assert told.cases == 1
    assert [(count.name, count.share) for count in told.by_reason] == [("wrong", 1.0)]
    assert [count.name for count in told.by_fault] == ["stale_policy"]
    (gap,) = told.knowledge_faults
    assert (gap.policy_id, gap.section, gap.missing_numbers, gap.message_id) == ("returns", "Returns > Footwear", ("90",), "m1")


def test_a_review_that_was_undone_is_no_evidence(ledger: Ledger) -> None:
    take(ledger, make.policy(BOOTS), asked(1), make.bad_case(1, None), make.review(1, corrected=WRONG))
    take(ledger, make.review(1, "reopen", second=20))
    assert [count.name for count in report(ledger.connection).by_fault] == ["generation"]


def test_a_case_belongs_to_the_period_of_its_first_complaint(ledger: Ledger) -> None:
    take(ledger, make.policy(BOOTS), asked(1), make.bad_case(1, GOOD, second=100), asked(2), make.thumb(2, second=200))
    take(ledger, make.review(1, corrected=WRONG, second=250))
    periods = {(0, 100): 0, (0, 101): 1, (100, 200): 1, (200, 300): 1, (0, 300): 2}
    assert {period: report(ledger.connection, make.at(period[0]), make.at(period[1])).cases for period in periods} == periods
    # What became known after the period is still the best evidence.
    assert [count.name for count in report(ledger.connection, make.at(0), make.at(101)).by_fault] == ["stale_policy"]


def test_what_was_asked_counts_all_answers_and_the_last_thumb(ledger: Ledger) -> None:
    take(ledger, make.policy(BOOTS), asked(1), asked(2, "HOW LONG may I return boots"), asked(3), asked(4, "Do you mend oars?"))
    take(
        ledger, make.thumb(1, "down"), make.thumb(1, "up", second=5, identity=9), make.thumb(2, "down"), make.bad_case(3), make.bad_case(3)
    )
    take(ledger, make.thumb(99))
    first, second = report(ledger.connection).most_asked
    assert (first.question, first.answers, first.thumbs_up, first.thumbs_down, first.bad_cases) == (
        "How long may I return boots?",
        3,
        1,
        1,
        1,
    )
    assert (second.question, second.answers) == ("Do you mend oars?", 1)
    assert report(ledger.connection, make.at(0) + timedelta(days=1)).answers == 0


def test_a_hundred_thousand_cases_are_reported_in_seconds(ledger: Ledger) -> None:
    ledger.connection.execute(
        "INSERT INTO blames BY NAME SELECT uuid() AS event_id, TIMESTAMPTZ '2026-01-05' + to_seconds(n) AS occurred_at, 'm' || n AS message_id, "
        "'How do I ' || ['return', 'change', 'pay', 'cancel'][1 + n % 4] || ' order ' || md5(n::VARCHAR) || '?' AS question, 'thumb' AS reason, "
        "['generation', 'missing_policy', 'retrieval_miss'][1 + n % 3] AS fault, 'detail' AS detail, 'p' || n % 50 AS policy_id, "
        "'s' || n % 500 AS section, 'c' || n % 9 AS category, [] AS missing_numbers, false AS corrected FROM range(100000) t(n)"
    )
    before = _cpu_seconds()
    told = report(ledger.connection)
    assert _cpu_seconds() - before < 30
    assert told.cases == sum(cluster.size for cluster in told.clusters) == 100_000


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
