"""What a file of training data is worth: counts, lengths, diversity, balance, and warnings in plain words."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from csqa_loop.data.rules.examples import Example
from csqa_loop.data.rules.figures import DIVERSITY_TEXTS, Diversity, Lengths, estimated_tokens, shares
from csqa_loop.text.languages import language_of

Disposition = Literal["accepted", "held", "refused"]
_BEST: tuple[Disposition, ...] = ("accepted", "held", "refused")
ROLES = ("question", "answer", "rejected")
_LISTED = 200
_REMARKS = 50
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
    row: int = 0
    """The row's number, counted from 1; 0: the one that was read last."""


@dataclass
class Tally:
    """Counts while a file is read; its size grows by a few bytes a row."""

    listener: Callable[[Outcome], None] | None = None
    """Told of every row that is not usable: the tally itself lists only the first ones."""
    rows: int = 0
    row_verdicts: Counter[str] = field(default_factory=Counter)
    """Of whole rows: the best that became of their examples."""
    columns: Counter[tuple[tuple[str, str], ...]] = field(default_factory=Counter)
    """Rows by what their columns are read as."""
    notes: Counter[str] = field(default_factory=Counter)
    """What was done to rows beside reading them."""
    paired: int = 0
    """Pairs of rows that give more than one."""
    remarks: list[str] = field(default_factory=list)
    """What the file's format tells, by line."""
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
    _row: int = 0
    _row_verdict: Disposition | None = None

    def judge(self, outcome: Outcome) -> None:
        """Count a verdict; a reason is kept where there is one. The verdicts of one row follow one another."""
        self.verdicts[outcome.verdict] += 1
        self._judge_row(outcome)
        if outcome.verdict == "accepted":
            return
        self.reasons[f"{outcome.verdict}: {outcome.kind}"] += 1
        if len(self.outcomes) < _LISTED:
            self.outcomes.append(outcome)
        if self.listener is not None:
            self.listener(outcome)

    def _judge_row(self, outcome: Outcome) -> None:
        number = outcome.row or self.rows
        known = self._row_verdict if self._row == number else None
        if known is None or _BEST.index(outcome.verdict) < _BEST.index(known):
            self.row_verdicts[outcome.verdict] += 1
            if known is not None:
                self.row_verdicts[known] -= 1
            self._row, self._row_verdict = number, outcome.verdict

    def column_report(self) -> list[dict[str, Any]]:
        """Each column with what it became and in how many rows; those that were not read in any come first."""
        became: dict[str, Counter[str]] = {}
        for layout, rows in self.columns.items():
            for name, role in layout:
                became.setdefault(name, Counter())[role] += rows
        told = [
            {
                "column": name,
                "read_as": next((role for role, _ in roles.most_common() if role), None),
                "rows": roles.total(),
                "unread": roles[""],
            }
            for name, roles in became.items()
        ]
        return sorted(told, key=lambda entry: entry["read_as"] is not None)

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
            "row_verdicts": {name: self.row_verdicts[name] for name in _BEST},
            "examples": {name: self.verdicts[name] for name in ("accepted", "held", "refused")},
            "first": None if not self.outcomes else _told(self.outcomes[0]),
            "columns": self.column_report(),
            "warnings": self.warnings(),
            "notes": dict(self.notes.most_common()),
            "paired": self.paired,
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
            "listed": [_told(outcome) for outcome in self.outcomes],
        }

    def unread_columns(self) -> list[str]:
        """The warning about columns that nothing is read from."""
        unread = [entry for entry in self.column_report() if entry["unread"]]
        never = [repr(entry["column"]) for entry in unread if entry["read_as"] is None]
        partly = [f"{entry['column']!r} in {_rows(entry['unread'])}" for entry in unread if entry["read_as"] is not None]
        said = [f"not read: {', '.join(never)}; --columns ROLE=NAME gives a column its role"] if never else []
        return said + ([f"not read in some rows: {', '.join(partly)}"] if partly else [])

    def warnings(self) -> list[str]:
        """What a person should know before training on it."""
        usable, said = self.kinds.total(), self.unread_columns() + self.remarks[:_REMARKS]
        if len(self.remarks) > _REMARKS:
            said.append(f"{len(self.remarks) - _REMARKS} more places of the file are like these")
        if not usable:
            return [*said, "no row can be used"]
        if equal := self.reasons["refused: equal"]:
            said.append(f"rejected and chosen are equal in {_rows(equal)}")
        if twice := self.reasons["refused: duplicate"]:
            said.append(f"{_rows(twice)} repeat an earlier one and were left out")
        if self.near_duplicates:
            said.append(f"the questions of {_rows(self.near_duplicates)} nearly repeat an earlier one")
        if held := self.verdicts["held"]:
            said.append(f"held: {_rows(held)}; pairs among them wait for a review before they train anything")
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


def _told(outcome: Outcome) -> dict[str, Any]:
    return {"line": outcome.line, "verdict": outcome.verdict, "kind": outcome.kind, "reason": outcome.reason}


def _dominant(counts: Counter[str], total: int, what: str) -> list[str]:
    name, most = counts.most_common(1)[0]
    return [f"{_percent(most, total)} of rows are {what} ({name})"] if most >= _ONE_SIDED * total else []


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
