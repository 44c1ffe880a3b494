"""What a file of training data is worth: counts, lengths, diversity, balance, and warnings in plain words."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from csqa_loop.data.rules.examples import Example
from csqa_loop.data.rules.figures import DIVERSITY_TEXTS, Diversity, Lengths, estimated_tokens, shares
from csqa_loop.text.languages import language_of

Disposition = Literal["accepted", "held", "refused"]
ROLES = ("question", "answer", "rejected")
_LISTED = 200
_FEW_QUESTIONS = 50
_ONE_SIDED = 0.8
_ENOUGH_ROWS = 10
"""Below this a share says nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row, or of one of its examples."""

    line: int
    verdict: Disposition
    kind: str = ""
    reason: str = ""


@dataclass
class Tally:
    """Counts while a file is read; its size grows by a few bytes a row."""

    listener: Callable[[Outcome], None] | None = None
    """Told of every row that is not usable: the tally itself lists only the first ones."""
    rows: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    outcomes: list[Outcome] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    generators: Counter[str] = field(default_factory=Counter)
    characters: dict[str, Lengths] = field(default_factory=lambda: {role: Lengths() for role in ROLES})
    tokens: dict[str, Lengths] = field(default_factory=lambda: {role: Lengths() for role in ROLES})
    diversity: dict[str, Diversity] = field(default_factory=lambda: {"question": Diversity(), "answer": Diversity()})
    distinct_questions: int = 0
    near_duplicates: int = 0
    near_duplicate_lines: list[tuple[int, int]] = field(default_factory=list)

    def judge(self, outcome: Outcome) -> None:
        """Count a verdict; a reason is kept where there is one."""
        self.verdicts[outcome.verdict] += 1
        if outcome.verdict == "accepted":
            return
        self.reasons[f"{outcome.verdict}: {outcome.kind}"] += 1
        if len(self.outcomes) < _LISTED:
            self.outcomes.append(outcome)
        if self.listener is not None:
            self.listener(outcome)

    def add(self, example: Example) -> None:
        """Take an example that can be used, held or not, into the figures."""
        self.kinds[example.kind] += 1
        if example.liked is not None:
            self.labels["liked" if example.liked else "disliked"] += 1
        self.splits[example.split] += 1
        self.languages[language_of(example.question, "other")] += 1
        self.categories[example.category or "(none)"] += 1
        if example.generator:
            self.generators[example.generator] += 1
        for role, text in zip(ROLES, (example.question, example.answer, example.rejected), strict=True):
            if text is not None:
                self.characters[role].add(len(text))
                self.tokens[role].add(estimated_tokens(text))
        self.diversity["question"].add(example.question)
        self.diversity["answer"].add(example.answer)

    def add_near_duplicate(self, line: int, earlier: int) -> None:
        """An example whose question nearly repeats that of an earlier line."""
        self.near_duplicates += 1
        if len(self.near_duplicate_lines) < _LISTED:
            self.near_duplicate_lines.append((line, earlier))

    def report(self) -> dict[str, Any]:
        """Everything as JSON values. Lengths are in characters and in estimated tokens."""
        usable = self.kinds.total()
        return {
            "rows": self.rows,
            "examples": {name: self.verdicts[name] for name in ("accepted", "held", "refused")},
            "reasons": dict(self.reasons.most_common()),
            "kinds": dict(self.kinds),
            "labels": dict(self.labels),
            "splits": dict(self.splits),
            "languages": dict(self.languages.most_common()),
            "categories": shares(self.categories),
            "generators": shares(self.generators),
            "characters": {role: lengths.summary() for role, lengths in self.characters.items() if lengths.values},
            "tokens": {role: lengths.summary() for role, lengths in self.tokens.items() if lengths.values},
            "diversity": {role: diversity.summary() for role, diversity in self.diversity.items()},
            "distinct_questions": self.distinct_questions,
            "largest_category_share": round(max(self.categories.values(), default=0) / usable, 4) if usable else None,
            "duplicates": {
                "exact": self.reasons["refused: duplicate"],
                "near": self.near_duplicates,
                "near_lines": [list(lines) for lines in self.near_duplicate_lines],
            },
            "warnings": self.warnings(),
            "listed": [{"line": o.line, "verdict": o.verdict, "kind": o.kind, "reason": o.reason} for o in self.outcomes],
        }

    def warnings(self) -> list[str]:
        """What a person should know before training on it."""
        usable, said = self.kinds.total(), []
        if not usable:
            return ["no row can be used"]
        if equal := self.reasons["refused: equal"]:
            said.append(f"rejected and chosen are equal in {_rows(equal)}")
        if twice := self.reasons["refused: duplicate"]:
            said.append(f"{_rows(twice)} repeat an earlier one and were left out")
        if self.near_duplicates:
            said.append(f"the questions of {_rows(self.near_duplicates)} nearly repeat an earlier one")
        if held := self.verdicts["held"]:
            said.append(f"{_rows(held)} are held: pairs among them wait for a review before they train anything")
        unread = sum(self.reasons[f"refused: {kind}"] for kind in ("unreadable", "encoding"))
        if unread:
            said.append(f"{_rows(unread)} could not be read")
        if usable < _ENOUGH_ROWS:
            return [*said, f"only {_rows(usable)} can be used"]
        if self.distinct_questions < min(_FEW_QUESTIONS, usable):
            said.append(f"only {self.distinct_questions} distinct questions in {_rows(usable)}")
        for counts, what in ((self.categories, "of one category"), (self.languages, "in one language")):
            said += _dominant(counts, usable, what) if len(counts) > 1 else []
        if self.labels and (dominant := _dominant(self.labels, self.labels.total(), "rated alike")):
            said += dominant
        if self.generators.total() > usable / 2:
            said.append(f"{_percent(self.generators.total(), usable)} of rows were made by a machine")
        short = sum(length < 2 for length in self.characters["answer"].values)
        if short:
            said.append(f"{_rows(short)} have an answer of a single character")
        if usable > DIVERSITY_TEXTS:
            said.append(f"diversity is measured on the first {DIVERSITY_TEXTS} of {usable} rows")
        return said


def _dominant(counts: Counter[str], total: int, what: str) -> list[str]:
    name, most = counts.most_common(1)[0]
    return [f"{_percent(most, total)} of rows are {what} ({name})"] if most >= _ONE_SIDED * total else []


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
