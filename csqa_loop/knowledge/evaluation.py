"""How well retrieval finds what answers labelled questions: each stage beside the others, and from which score on a question is covered.

A phrasing counts at k when one of the first k passages is of its document and contains all that is needed.
Recall@k, MRR and nDCG as in Manning, Raghavan and Schuetze, "Introduction to Information Retrieval", 2008, section 8.4, with one relevant rank, the first.
"""

import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from csqa_loop.errors import PermanentError
from csqa_loop.knowledge.encoder import Encoder
from csqa_loop.knowledge.index import Hit, KnowledgeIndex
from csqa_loop.knowledge.indexing import VectorCache, index_policies
from csqa_loop.knowledge.retrieval import Retriever, covered_from
from csqa_loop.knowledge.rules.publishing import publication
from csqa_loop.knowledge.stages.late import LateInteraction
from csqa_loop.knowledge.stages.lexical import LexicalIndex
from csqa_loop.settings import RetrievalSettings
from csqa_loop.text.languages import language_of

AT = (1, 2, 5, 10)
"""Where recall is measured."""
_SETTLE_SECONDS = 120.0
_THRESHOLDS = 40
_DEEP = 200
"""So many passages are looked at for the best one of another document."""
_LINK = re.compile(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
_MARKS = re.compile(r"[\s*_`|>#]+")


@dataclass(frozen=True, slots=True)
class AskedAbout:
    """A question, and what answers it."""

    question: str
    document: str
    """policy_id."""
    needs: tuple[str, ...] = ()
    """Strings that the passage must contain; none: any passage of the document answers."""

    @property
    def language(self) -> str:
        """Of the question."""
        return language_of(self.question)


@dataclass(frozen=True, slots=True)
class Quality:
    """Over some questions: shares in [0, 1]."""

    questions: int
    recall: dict[int, float]
    mrr: float
    ndcg: float
    """At the largest k."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a threshold on the best cosine decides, in [0, 1]. Not covered is each question as if its document were missing."""

    threshold: float
    precision: float
    recall: float
    false_alarms: float
    """Share of the questions without their document that it calls covered."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """By stage, and for the last stage by language and by document; coverage at each threshold from low to high."""

    encoder: str
    covered_from: float
    """The threshold that holds now."""
    stages: dict[str, Quality]
    languages: dict[str, Quality]
    documents: dict[str, Quality]
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True, slots=True)
class Stages:
    """Stage -> what retrieves with it and all before it, over one index."""

    index: KnowledgeIndex
    encoder: Encoder
    covered_from: float
    retrievers: dict[str, Retriever]


def read_questions(file: Path) -> tuple[AskedAbout, ...]:
    """JSON lines (`policy_id`, `questions`, `needs`) or CSV with a header (`question`, `document`).

    Raises:
        PermanentError: the file cannot be read, has no question, or a line is none; the line is named.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{file} cannot be read: {error}") from error
    found = list(_of_json_lines(file, text) if file.suffix.lower() == ".jsonl" else _of_csv(file, text))
    if not found:
        raise PermanentError(f"{file} holds no question")
    return tuple(found)


def _of_json_lines(file: Path, text: str) -> Iterable[AskedAbout]:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            row = orjson.loads(line)
            phrasings, document, needs = row["questions"], row["policy_id"], row.get("needs", ())
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            msg = f'{file}, line {number}: {error!r}; a line is {{"policy_id": "returns", "questions": ["..."], "needs": ["14 days"]}}'
            raise PermanentError(msg) from error
        for phrasing in phrasings:
            yield AskedAbout(str(phrasing), str(document), tuple(map(str, needs)))


def _of_csv(file: Path, text: str) -> Iterable[AskedAbout]:
    rows = csv.DictReader(io.StringIO(text))
    if not {"question", "document"} <= set(rows.fieldnames or ()):
        raise PermanentError(f"{file} has the columns {', '.join(rows.fieldnames or ()) or 'none'}; question and document are needed")
    for row in rows:
        if not row["question"] or not row["document"]:
            raise PermanentError(f"{file}, line {rows.line_num}: {'question' if not row['question'] else 'document'} is empty")
        yield AskedAbout(row["question"], row["document"])


async def stages_over(pages: Mapping[str, str], encoder: Encoder, settings: RetrievalSettings, now: datetime) -> Stages:
    """Everything that a gateway has over these documents (policy_id -> text)."""
    lexical = LexicalIndex()
    index = KnowledgeIndex(encoder.name, encoder.dimension, listeners=[lexical])
    published = [publication(policy_id, text, now=now) for policy_id, text in pages.items()]
    made = await index_policies(published, encoder, VectorCache(encoder.name), chunk_characters=settings.chunk_characters, now=now)
    for event in (*published, *made):
        index.take(event)
    lexical.settle(_SETTLE_SECONDS)
    retrievers = {"dense": Retriever(encoder, index), "fused": Retriever(encoder, index, lexical=lexical)}
    if settings.late_passages and getattr(encoder, "gives_tokens", False):
        late = LateInteraction(encoder, settings.late_passages)  # type: ignore[arg-type]  # it gives them
        retrievers["late"] = Retriever(encoder, index, lexical=lexical, late=late)
    return Stages(index, encoder, covered_from(encoder.name, settings.min_score), retrievers)


async def evaluate(stages: Stages, questions: Sequence[AskedAbout], on_progress: Callable[[int], None] = lambda _: None) -> Evaluation:
    """Ask every question of every stage. `on_progress` is told how many were asked.

    Raises:
        PermanentError: a question is about a document that is not there.
    """
    known = {question.document for question in questions}
    if missing := sorted(document for document in known if not stages.index.serves(document)):
        raise PermanentError(f"no document is called {missing[0]}{f' (and {len(missing) - 1} more are missing)' if missing[1:] else ''}")
    ranks: dict[str, list[int | None]] = {stage: [] for stage in stages.retrievers}
    best: list[tuple[float, float]] = []
    asked = 0
    for question in questions:
        for stage, retriever in stages.retrievers.items():
            found = await retriever.retrieve(question.question, max(AT))
            ranks[stage].append(_rank(question, found.hits))
            asked += 1
            on_progress(asked)
        best.append(await _nearest(stages, question))
    last = ranks[list(ranks)[-1]]
    return Evaluation(
        encoder=stages.encoder.name,
        covered_from=stages.covered_from,
        stages={stage: quality_of(some) for stage, some in ranks.items()},
        languages=_by(questions, last, lambda question: question.language),
        documents=_by(questions, last, lambda question: question.document),
        coverage=coverage_of(best),
    )


def quality_of(ranks: Sequence[int | None]) -> Quality:
    """`ranks`: from 0, of the first passage that answers each question; None where none of the first ones does."""
    n = len(ranks)
    found = [rank for rank in ranks if rank is not None]
    return Quality(
        questions=n,
        recall={k: sum(rank < k for rank in found) / n for k in AT},
        mrr=sum(1 / (1 + rank) for rank in found) / n,
        ndcg=sum(1 / math.log2(2 + rank) for rank in found) / n,
    )


def coverage_of(best: Sequence[tuple[float, float]]) -> tuple[Coverage, ...]:
    """`best`: for each question the best cosine, with its document there and with it missing. Some forty thresholds between them, to a thousandth."""
    scores = [score for pair in best for score in pair]
    low, high = math.floor(1000 * min(scores)), math.ceil(1000 * max(scores))
    found = []
    for thousandths in range(low, high + 1, max(1, (high - low) // _THRESHOLDS)):
        threshold = thousandths / 1000
        right, wrong = sum(there >= threshold for there, _ in best), sum(missing >= threshold for _, missing in best)
        if right + wrong:
            found.append(Coverage(threshold, right / (right + wrong), right / len(best), wrong / len(best)))
    return tuple(found)


def best_threshold(coverage: Sequence[Coverage]) -> Coverage:
    """The one that parts the two best: recall less false alarms (Youden 1950, "Index for rating diagnostic tests"); of equals the lowest."""
    return max(coverage, key=lambda one: (one.recall - one.false_alarms, -one.threshold))


def contains(text: str, needs: Iterable[str]) -> bool:
    """Whether a passage says all of it; white space, case and Markdown's marks do not count."""
    plain = _plain(text)
    return all(_plain(need) in plain for need in needs)


def _plain(text: str) -> str:
    return _MARKS.sub("", _LINK.sub(r"\1", unicodedata.normalize("NFKC", text))).casefold()


def _rank(question: AskedAbout, hits: Sequence[Hit]) -> int | None:
    return next((n for n, hit in enumerate(hits) if hit.policy_id == question.document and contains(hit.text, question.needs)), None)


def _by(questions: Sequence[AskedAbout], ranks: Sequence[int | None], key: Callable[[AskedAbout], str]) -> dict[str, Quality]:
    groups: dict[str, list[Any]] = {}
    for question, rank in zip(questions, ranks, strict=True):
        groups.setdefault(key(question), []).append(rank)
    return {name: quality_of(groups[name]) for name in sorted(groups)}


async def _nearest(stages: Stages, question: AskedAbout) -> tuple[float, float]:
    vector = (await stages.encoder.encode_queries([question.question]))[0]
    hits = stages.index.search(vector, _DEEP)
    there = hits[0].score if hits else -1.0
    return there, next((hit.score for hit in hits if hit.policy_id != question.document), -1.0)
