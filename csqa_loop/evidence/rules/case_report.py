"""What bad answers have in common: counts, groups of similar questions, and what the policies' owners have to write.

One case is one answer, however many complaints there are about it.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from csqa_loop.evidence.rules.blame import Fault
from csqa_loop.text.normal import normalised
from csqa_loop.text.similarity import near_duplicates, signature

_ALIKE = 0.45
"""Estimated similarity from which two questions count as wordings of one. Of the packaged scenarios' questions, 9 of 36,180 pairs about
different matters reach it."""
_COMPARED = 5_000
"""Wordings without a section that are compared with each other, the most frequent first: a comparison takes about half a millisecond."""
_MOST_ASKED = 10
_KNOWLEDGE = frozenset({Fault.RETRIEVAL_MISS, Fault.STALE_POLICY, Fault.MISSING_POLICY})


@dataclass(frozen=True, slots=True)
class BadCase:
    """One answer with complaints, with the blame that rests on the best evidence."""

    event_id: str
    """Of the complaint that the blame rests on."""
    occurred_at: datetime
    """Of the first complaint."""
    message_id: str
    question: str
    reason: str
    """Of the first complaint: a bad case's reason, `review` or `thumb`."""
    fault: Fault
    detail: str
    policy_id: str
    section: str
    category: str
    missing_numbers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionAsked:
    """A question and how customers and agents judged its answers."""

    question: str
    answers: int
    thumbs_up: int
    thumbs_down: int
    bad_cases: int
    """Answers that an agent reported."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many cases fall under a name. `share` is of all cases, from 0 to 1."""

    name: str
    cases: int
    share: float


@dataclass(frozen=True, slots=True)
class PolicyFaults:
    """One row of the table of policies and faults; an empty `policy_id` stands for no policy near."""

    policy_id: str
    cases: int
    faults: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Cases about one matter."""

    size: int
    question: str
    """The wording that is most frequent."""
    wordings: int
    """Different questions in it, however small the difference."""
    policies: tuple[str, ...]
    section: str
    """What the cases share, where it is not their words."""
    faults: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class KnowledgeFault:
    """Something that no training can mend: for the owner of the policy."""

    fault: Fault
    policy_id: str
    section: str
    """The passage that is nearest; empty where none is."""
    missing: str
    """What is wrong or missing there."""
    missing_numbers: tuple[str, ...]
    cases: int
    question: str
    """An example: the wording that is most frequent."""
    message_id: str
    """Of the newest case."""
    last_at: datetime


@dataclass(frozen=True, slots=True)
class CaseReport:
    """The bad cases whose first complaint fell into [since, until); None leaves that end open. Lists: the most frequent first, then by name."""

    since: datetime | None
    until: datetime | None
    cases: int
    answers: int
    by_fault: tuple[Count, ...]
    by_reason: tuple[Count, ...]
    by_category: tuple[Count, ...]
    by_policy: tuple[Count, ...]
    faults_by_policy: tuple[PolicyFaults, ...]
    clusters: tuple[Cluster, ...]
    most_asked: tuple[QuestionAsked, ...]
    knowledge_faults: tuple[KnowledgeFault, ...]


def report_of(
    cases: Sequence[BadCase], asked: Iterable[QuestionAsked], since: datetime | None = None, until: datetime | None = None
) -> CaseReport:
    """The report of a period; `asked` is every question of the period as it was worded, also those answered well."""
    questions = merged(asked)
    groups = _groups(cases)
    return CaseReport(
        since=since,
        until=until,
        cases=len(cases),
        answers=sum(question.answers for question in questions),
        by_fault=_counts(case.fault for case in cases),
        by_reason=_counts(case.reason for case in cases),
        by_category=_counts(case.category for case in cases),
        by_policy=_counts(case.policy_id for case in cases),
        faults_by_policy=_faults_by_policy(cases),
        clusters=tuple(sorted(map(_cluster, groups), key=lambda cluster: (-cluster.size, cluster.question, cluster.section))),
        most_asked=questions[:_MOST_ASKED],
        knowledge_faults=_knowledge_faults(groups),
    )


def merged(questions_asked: Iterable[QuestionAsked]) -> tuple[QuestionAsked, ...]:
    """Wordings that differ in case, width, spaces and punctuation alone as one question, under its most frequent wording; the most frequent first."""
    wordings: dict[str, list[QuestionAsked]] = {}
    for question in questions_asked:
        wordings.setdefault(normalised(question.question), []).append(question)
    questions = [
        QuestionAsked(
            min(group, key=lambda wording: (-wording.answers, wording.question)).question,
            sum(wording.answers for wording in group),
            sum(wording.thumbs_up for wording in group),
            sum(wording.thumbs_down for wording in group),
            sum(wording.bad_cases for wording in group),
        )
        for group in wordings.values()
    ]
    return tuple(sorted(questions, key=lambda question: (-question.answers, question.question)))


def _counts(names: Iterable[str]) -> tuple[Count, ...]:
    counted = Counter(map(str, names))
    total = counted.total()
    return tuple(
        Count(name, cases, round(cases / total, 4)) for name, cases in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    )


def _faults_by_policy(cases: Sequence[BadCase]) -> tuple[PolicyFaults, ...]:
    counted: dict[str, Counter[str]] = {}
    for case in cases:
        counted.setdefault(case.policy_id, Counter())[str(case.fault)] += 1
    rows = (PolicyFaults(policy_id, faults.total(), _sorted(faults)) for policy_id, faults in counted.items())
    return tuple(sorted(rows, key=lambda row: (-row.cases, row.policy_id)))


def _groups(cases: Sequence[BadCase]) -> list[list[BadCase]]:
    """Cases about one matter: with the same nearest section, else in nearly the same words.

    Where the policy is missing, the nearest section is about something else: only words count there.
    """
    placed: dict[Hashable, list[BadCase]] = {}
    worded: dict[str, list[BadCase]] = {}
    for case in cases:
        if case.policy_id and case.fault is not Fault.MISSING_POLICY:
            placed.setdefault((case.policy_id, case.section), []).append(case)
        else:
            worded.setdefault(normalised(case.question), []).append(case)
    wordings = sorted(worded, key=lambda wording: (-len(worded[wording]), wording))
    leaders = near_duplicates([signature(wording) for wording in wordings[:_COMPARED]], _ALIKE)
    for place, wording in enumerate(wordings):
        placed.setdefault(wordings[leaders.get(place, place)], []).extend(worded[wording])
    return list(placed.values())


def _cluster(group: Sequence[BadCase]) -> Cluster:
    sections = {case.section for case in group}
    return Cluster(
        size=len(group),
        question=_typical(group),
        wordings=len({normalised(case.question) for case in group}),
        policies=tuple(sorted({case.policy_id for case in group if case.policy_id})),
        section=sections.pop() if len(sections) == 1 else "",
        faults=_sorted(Counter(str(case.fault) for case in group)),
    )


def _knowledge_faults(groups: Iterable[Sequence[BadCase]]) -> tuple[KnowledgeFault, ...]:
    """One entry a place and what is missing there. Without a number to look for, only the questions tell one gap from another."""
    gaps: dict[Hashable, list[BadCase]] = {}
    for place, group in enumerate(groups):
        for case in group:
            if case.fault in _KNOWLEDGE:
                apart = place if case.fault is Fault.MISSING_POLICY and not case.missing_numbers else None
                gaps.setdefault((case.fault, case.policy_id, case.section, case.detail, apart), []).append(case)
    faults = (_knowledge_fault(gap) for gap in gaps.values())
    return tuple(sorted(faults, key=lambda fault: (-fault.cases, fault.policy_id, fault.section, fault.missing, fault.question)))


def _knowledge_fault(gap: Sequence[BadCase]) -> KnowledgeFault:
    newest = max(gap, key=lambda case: (case.occurred_at, case.event_id))
    return KnowledgeFault(
        fault=newest.fault,
        policy_id=newest.policy_id,
        section=newest.section,
        missing=newest.detail,
        missing_numbers=tuple(sorted({number for case in gap for number in case.missing_numbers})),
        cases=len(gap),
        question=_typical(gap),
        message_id=newest.message_id,
        last_at=newest.occurred_at,
    )


def _typical(cases: Iterable[BadCase]) -> str:
    counted = Counter(case.question for case in cases)
    return min(counted, key=lambda question: (-counted[question], question))


def _sorted(counted: Counter[str]) -> dict[str, int]:
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
