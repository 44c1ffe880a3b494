"""Why an answer was bad: what the model wrote, what it was given to read, or what the company has written down.

Only the first can be trained away. Judged by support (`corpus`): how much of a text a passage says, and whether it states all of its numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import tee
from typing import Literal

from csqa_loop.evidence.rules.corpus import Corpus, Nearest, body_of, stated_in, terms_in
from csqa_loop.knowledge.rules.passages import PolicyPassage

_SUPPORTED = 0.35
"""Overlap from which a passage that states all numbers of a text counts as its source."""
_CLEARLY_BETTER = 0.10
"""By how much another passage must say more than the prompt before retrieval is blamed."""
_SAME_MATTER = 0.50
"""Overlap from which a passage is about the same rule, though it states other numbers."""
_SAYS_THE_SAME = 0.60
"""Overlap from which a passage that states all numbers of a disliked answer says just what it says."""
_ON_SUBJECT = 0.20
"""Below this overlap with every passage, a question is about something no policy covers."""


class Fault(StrEnum):
    """Where a bad answer came from."""

    GENERATION = "generation"
    """The right answer was in the prompt, and the answer is still wrong."""
    RETRIEVAL_MISS = "retrieval_miss"
    """A current policy states the right answer, and the prompt did not hold it."""
    STALE_POLICY = "stale_policy"
    """A policy on the matter says something else: the prompt quoted an old version, or the policy itself is out of date."""
    MISSING_POLICY = "missing_policy"
    """No policy states the right answer."""
    NOT_THE_MODEL = "not_the_model"
    """A cache, a tool or a refusal answered, not the model."""


@dataclass(frozen=True, slots=True)
class Case:
    """A bad answer, as far as blame needs it."""

    question: str
    answer: str
    better: str
    """What should have been said; empty where it is not known."""
    reason: str
    """The bad case's reason, or `thumb`."""
    source: str
    """Of the answer: `model`, `cache`, `tool` or `refusal`."""
    prompt: str
    """What the model was given to read: its system messages."""
    quoted: tuple[tuple[str, str], ...] = ()
    """(policy_id, version) of what the prompt held, best first."""


@dataclass(frozen=True, slots=True)
class Blame:
    """The fault with its evidence. `policy_id`, `section` and `category` are of the nearest passage; empty where nothing is near."""

    fault: Fault
    basis: Literal["correction", "question", "answer", "source", "no policy is known"]
    """What it was judged by. `answer`: a passage of the prompt says what a customer disliked, so a person has to say whether it is wrong."""
    detail: str
    policy_id: str = ""
    version: str = ""
    section: str = ""
    category: str = ""
    prompt_support: float = 0.0
    """Overlap of the judged text with the prompt, from 0 to 1."""
    best_support: float = 0.0
    """Overlap with the best current passage that the prompt did not hold."""
    missing_numbers: tuple[str, ...] = ()
    """Numbers of the correction that the prompt does not state."""


def blame(case: Case, corpus: Corpus) -> Blame:
    """Whose fault a bad answer is, given what was current when it was reported."""
    if case.source not in {"model", "refusal"}:
        return Blame(Fault.NOT_THE_MODEL, "source", f"the answer came from a {case.source}")
    if not corpus.passages:
        fault = Fault.GENERATION if case.source == "model" else Fault.MISSING_POLICY
        return Blame(fault, "no policy is known", "no policy was published here, so only the model can be looked at")
    return _by_correction(case, corpus) if case.better.strip() else _by_question(case, corpus)


def _by_correction(case: Case, corpus: Corpus) -> Blame:
    terms = terms_in(case.better) or terms_in(case.question)
    numbers = stated_in(case.better) - stated_in(case.question)
    missing = tuple(sorted(numbers - stated_in(case.prompt)))
    prompt_support = corpus.overlap(terms, terms_in(case.prompt))
    overall, outside, source = _search(corpus, terms, numbers, case.prompt)
    evidence = _Evidence(case, "correction", prompt_support, outside.overlap if outside else 0.0, missing)
    if not missing and prompt_support >= _SUPPORTED:
        return evidence.generation(overall, "the prompt says it, the answer does not")
    if source and source.overlap >= prompt_support + (0.0 if missing else _CLEARLY_BETTER):
        return evidence.knowledge(source)
    if not missing and prompt_support >= evidence.best_support:
        return evidence.generation(overall, "nothing in the policies says more about it than the prompt did")
    if case.reason in {"tone", "unsafe"} and stated_in(case.answer).issuperset(missing):
        return evidence.generation(overall, f"the fault is in how it was said ({case.reason})")
    if overall and overall.overlap >= _SAME_MATTER:
        where = f"{overall.passage.policy_id}, {overall.passage.section!r}"
        return evidence.of(Fault.STALE_POLICY, overall, f"{where}, is about it and does not state {', '.join(missing) or 'this'}")
    detail = f"no current policy states {', '.join(missing)} on this matter" if missing else "no current policy says this"
    return evidence.of(Fault.MISSING_POLICY, overall, detail)


def _by_question(case: Case, corpus: Corpus) -> Blame:
    terms = terms_in(case.question)
    prompt_support = corpus.overlap(terms, terms_in(case.prompt))
    overall, outside, _ = _search(corpus, terms, frozenset(), case.prompt)
    evidence = _Evidence(case, "question", prompt_support, outside.overlap if outside else 0.0, ())
    if case.reason == "thumb" and (same := _answer_in_prompt(case, corpus)):
        where = f"{same.passage.policy_id}, {same.passage.section!r}"
        return replace(evidence, basis="answer").generation(
            same, f"{where}, says what the answer says: a person decides whether it is wrong"
        )
    if max(prompt_support, evidence.best_support) < _ON_SUBJECT:
        return evidence.of(Fault.MISSING_POLICY, overall, "no current policy is about this question")
    if outside and outside.overlap > prompt_support + _CLEARLY_BETTER:
        return evidence.knowledge(outside)
    return evidence.generation(overall, "no passage is nearer to the question than what the prompt held")


def _search(
    corpus: Corpus, terms: frozenset[str], numbers: frozenset[str], prompt: str
) -> tuple[Nearest | None, Nearest | None, Nearest | None]:
    """The nearest passage of all, the nearest that the prompt did not hold, and the nearest of those that can be the text's source."""
    ranked, again = tee(corpus.nearest(terms))
    overall, outside = next(ranked, None), _first(again, prompt, inside=False)
    source = outside
    if outside and not numbers <= stated_in(outside.passage.text):
        source = _first(corpus.nearest(terms, stating=numbers), prompt, inside=False)
    return overall, outside, source if source and source.overlap >= _SUPPORTED else None


def _first(ranked: Iterator[Nearest], prompt: str, *, inside: bool, least: float = 0.0) -> Nearest | None:
    """The nearest passage that the prompt held, or did not hold; None where none has this much overlap."""
    for nearest in ranked:
        if nearest.overlap < least:
            return None
        if (body_of(nearest.passage.text) in prompt) is inside:
            return nearest
    return None


def _answer_in_prompt(case: Case, corpus: Corpus) -> Nearest | None:
    """A passage that the prompt held and that says the whole answer."""
    numbers = stated_in(case.answer) - stated_in(case.question)
    return _first(corpus.nearest(terms_in(case.answer), stating=numbers), case.prompt, inside=True, least=_SAYS_THE_SAME)


def supporting(question: str, answer: str, corpus: Corpus) -> PolicyPassage | None:
    """The passage that can be an answer's source: it says enough of it, and states all of its numbers but those of the question."""
    numbers = stated_in(answer) - stated_in(question)
    nearest = next(corpus.nearest(terms_in(answer) or terms_in(question), stating=numbers), None)
    return nearest.passage if nearest and nearest.overlap >= _SUPPORTED else None


def outvoted(question: str, chosen: str, rejected: str, prompt: str, corpus: Corpus) -> str | None:
    """Why customers' votes alone do not make `chosen` better than `rejected`; None where they may.

    A passage of the prompt must say at least as much of what was chosen. Where what was rejected has numbers of its own which a passage states,
    it must be another passage, and say more: words alone cannot tell which of a passage's numbers answers the question.
    """
    texts = corpus if corpus.passages else Corpus([PolicyPassage("", "", "", prompt)])
    worse = _backing(rejected, question, prompt, texts)
    if worse is None:
        return None
    better = _backing(chosen, question, prompt, texts)
    where = f"{worse.passage.policy_id}, {worse.passage.section!r}," if worse.passage.policy_id else "the prompt"
    disputed = sorted(stated_in(rejected) - stated_in(question) - stated_in(chosen))
    if disputed and (better is None or better.passage == worse.passage or better.overlap <= worse.overlap):
        return f"disputed: {where} states {', '.join(disputed)}, as the answer does that customers disliked"
    if better is None or better.overlap + _CLEARLY_BETTER < worse.overlap:
        return f"disputed: {where} says more of the answer that customers disliked"
    return None


def _backing(answer: str, question: str, prompt: str, corpus: Corpus) -> Nearest | None:
    """The passage of the prompt that says most of an answer to the question and states all of its numbers."""
    numbers = stated_in(answer) - stated_in(question)
    return _first(corpus.nearest(terms_in(answer) | terms_in(question), stating=numbers), prompt, inside=True, least=_ON_SUBJECT)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The evidence that all possible verdicts on one case share."""

    case: Case
    basis: Literal["correction", "question", "answer"]
    prompt_support: float
    best_support: float
    missing: tuple[str, ...]

    def of(self, fault: Fault, nearest: Nearest | None, detail: str) -> Blame:
        place = nearest.passage if nearest else PolicyPassage("", "", "", "")
        return Blame(
            fault, self.basis, detail, place.policy_id, place.version, place.section, place.category,
            round(self.prompt_support, 4), round(self.best_support, 4), self.missing,
        )  # fmt: skip

    def generation(self, nearest: Nearest | None, detail: str) -> Blame:
        """The prompt held what was needed: the model's fault, unless it was never asked."""
        quoted = nearest if nearest and nearest.passage.policy_id in {policy_id for policy_id, _ in self.case.quoted} else None
        if self.case.source == "refusal":
            return self.of(Fault.NOT_THE_MODEL, quoted, "the system refused to answer, though the prompt held it")
        return self.of(Fault.GENERATION, quoted, detail)

    def knowledge(self, source: Nearest) -> Blame:
        """A current passage says it and the prompt did not hold it: another version of a quoted policy is stale, anything else was missed."""
        passage = source.passage
        old = [version for policy_id, version in self.case.quoted if policy_id == passage.policy_id and version != passage.version]
        if old:
            return self.of(Fault.STALE_POLICY, source, f"answered from {passage.policy_id} {old[0]}; {passage.version} was current")
        return self.of(Fault.RETRIEVAL_MISS, source, f"{passage.policy_id}, {passage.section!r}, says it and was not retrieved")
