"""What a report says of bad cases: what is counted, what is grouped, and what is left to the policies' owners."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.evidence.rules.blame import Fault
from csqa_loop.evidence.rules.case_report import BadCase, QuestionAsked, merged, report_of

START = datetime(2026, 5, 4, tzinfo=UTC)


def case(number: int = 0, question: str = "How long may I return boots?", **fields: Any) -> BadCase:
    body: dict[str, Any] = {
        "event_id": f"e{number:03}", "occurred_at": START + timedelta(minutes=number), "message_id": f"m{number}", "question": question,
        "reason": "wrong", "fault": Fault.GENERATION, "detail": "the prompt says it, the answer does not", "policy_id": "returns",
        "section": "Footwear", "category": "returns",
    }  # fmt: skip
    return BadCase(**body | fields)


def test_counts_and_their_shares_are_of_all_cases() -> None:
    report = report_of(
        [case(1), case(2, reason="tone"), case(3, fault=Fault.STALE_POLICY), case(4, policy_id="", section="", category="")], []
    )
    assert [(count.name, count.cases, count.share) for count in report.by_fault] == [("generation", 3, 0.75), ("stale_policy", 1, 0.25)]
    assert [(count.name, count.cases) for count in report.by_reason] == [("wrong", 3), ("tone", 1)]
    assert [(count.name, count.cases) for count in report.by_category] == [("returns", 3), ("", 1)]
    assert [(row.policy_id, dict(row.faults)) for row in report.faults_by_policy] == [
        ("returns", {"generation": 2, "stale_policy": 1}), ("", {"generation": 1}),
    ]  # fmt: skip


def test_a_period_without_cases_has_an_empty_report() -> None:
    report = report_of([], [])
    assert (report.cases, report.answers, report.by_fault, report.clusters, report.most_asked) == (0, 0, (), (), ())


def test_a_shared_section_groups_questions_that_share_no_word() -> None:
    (cluster,) = report_of([case(1, "How long may I return boots?"), case(2, "My wellingtons leak. Money back?")], []).clusters
    assert (cluster.size, cluster.wordings, cluster.policies, cluster.section) == (2, 2, ("returns",), "Footwear")


def test_nearly_the_same_words_group_questions_that_no_section_is_near_to() -> None:
    nowhere = {"policy_id": "", "section": "", "fault": Fault.MISSING_POLICY, "detail": "no current policy is about this question"}
    questions = ["Do you repair wooden oars?", "Do you repair the wooden oars?", "do you repair wooden OARS", "Who is your director?"]
    clusters = report_of([case(number, question, **nowhere) for number, question in enumerate(questions)], []).clusters
    assert [(cluster.size, cluster.wordings) for cluster in clusters] == [(3, 2), (1, 1)]
    assert clusters[0].question == "Do you repair the wooden oars?"
    assert clusters[1].question == "Who is your director?"


def test_a_section_that_is_about_something_else_groups_nothing() -> None:
    gap = {"fault": Fault.MISSING_POLICY, "detail": "no current policy is about this question"}
    clusters = report_of([case(1, "Do you repair oars?", **gap), case(2, "Who is your director?", **gap)], []).clusters
    assert [cluster.size for cluster in clusters] == [1, 1]


def test_only_what_training_cannot_mend_is_left_to_the_owners() -> None:
    stale = {"fault": Fault.STALE_POLICY, "detail": "returns, 'Footwear', is about it and does not state 45", "missing_numbers": ("45",)}
    cases = [case(1), case(2, fault=Fault.NOT_THE_MODEL), case(3, **stale), case(9, "And boots?", **stale), case(5, "And boots?", **stale)]
    (fault,) = report_of(cases, []).knowledge_faults
    assert (fault.fault, fault.policy_id, fault.section, fault.missing_numbers) == (Fault.STALE_POLICY, "returns", "Footwear", ("45",))
    assert (fault.cases, fault.question, fault.message_id, fault.last_at) == (3, "And boots?", "m9", START + timedelta(minutes=9))


def test_gaps_without_a_number_are_told_apart_by_their_questions() -> None:
    gap = {"fault": Fault.MISSING_POLICY, "detail": "no current policy is about this question"}
    faults = report_of([case(1, "Do you repair oars?", **gap), case(2, "Who is your director?", **gap)], []).knowledge_faults
    assert sorted(fault.question for fault in faults) == ["Do you repair oars?", "Who is your director?"]
    numbered = gap | {"detail": "no current policy states 90 on this matter", "missing_numbers": ("90",)}
    (fault,) = report_of([case(1, "What is the fee?", **numbered), case(2, "How much for kayaks?", **numbered)], []).knowledge_faults
    assert fault.cases == 2


def test_the_most_asked_questions_count_every_spelling() -> None:
    asked = [QuestionAsked("Boots?", 3, 1, 0, 0), QuestionAsked("boots", 4, 0, 2, 1), QuestionAsked("Oars?", 5, 0, 0, 0)]
    assert merged(asked) == (QuestionAsked("boots", 7, 1, 2, 1), QuestionAsked("Oars?", 5, 0, 0, 0))
    report = report_of([], [QuestionAsked(f"Question {number}?", number, 0, 0, 0) for number in range(1, 20)])
    assert [question.answers for question in report.most_asked] == list(range(19, 9, -1))
    assert report.answers == 190


CASES = st.lists(
    st.builds(
        case,
        number=st.integers(0, 999),
        question=st.sampled_from(["Boots?", "boots", "How long may I return boots?", "Do you repair oars?", "Who?", "?!"]),
        fault=st.sampled_from(list(Fault)),
        policy_id=st.sampled_from(["", "returns", "delivery"]),
        section=st.sampled_from(["", "Footwear"]),
    ),
    max_size=25,
)


@given(CASES, st.randoms(use_true_random=False))
def test_every_case_is_in_one_cluster_and_order_does_not_matter(cases: list[BadCase], order: Any) -> None:
    report = report_of(cases, [])
    assert sum(cluster.size for cluster in report.clusters) == len(cases)
    assert sum(fault.cases for fault in report.knowledge_faults) == sum(
        case.fault in {Fault.RETRIEVAL_MISS, Fault.STALE_POLICY, Fault.MISSING_POLICY} for case in cases
    )
    shuffled = list(cases)
    order.shuffle(shuffled)
    assert [cluster.size for cluster in report_of(shuffled, []).clusters] == [cluster.size for cluster in report.clusters]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("How long may I return headphones?", "How long can I return headphones?", True),
        ("Do you deliver to Ireland?", "Do you also deliver to Ireland?", True),
        ("How long may I return boots?", "How long does a repair take?", False),
        ("电池和油漆多久送到？", "电池和油漆多久能送到？", True),
        ("电池和油漆多久送到？", "鞋靴多少天内可以退货？", False),
    ],
)
def test_paraphrases_are_grouped_and_other_matters_are_not(first: str, second: str, *, together: bool) -> None:
    gap = {"fault": Fault.MISSING_POLICY, "policy_id": "", "section": ""}
    assert (len(report_of([case(1, first, **gap), case(2, second, **gap)], []).clusters) == 1) == together
