"""A file of training data becomes events of the log: each row is accepted, held or refused, and an import that was interrupted goes on."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from csqa_loop.data.rules.annotators import check_unread
from csqa_loop.data.rules.choices import decided
from csqa_loop.data.rules.columns import UNREAD, ColumnFinder, Columns
from csqa_loop.data.rules.examples import Example, imported, prepared
from csqa_loop.data.rules.report import Outcome, Tally
from csqa_loop.data.rules.rows import Broken, Remark, Row, RowRefusedError
from csqa_loop.data.rules.shapes import Scales, examples_of
from csqa_loop.data.rules.sides import is_side
from csqa_loop.data.rules.split import side_of
from csqa_loop.data.rules.unfolding import unfolded, with_lists
from csqa_loop.errors import PermanentError
from csqa_loop.evidence.rules.quality import QualityPolicy, findings
from csqa_loop.files.durable import write_atomically
from csqa_loop.log.bus import Bus
from csqa_loop.text.languages import language_of
from csqa_loop.text.masking import NOTHING, Known
from csqa_loop.text.normal import normalised
from csqa_loop.text.similarity import signature

_LARGEST_CONTEXT = 1024 * 1024
"""Bytes of all messages: escaped as JSON they still fit into a record of the log."""
_COLUMNS_WITHIN = 100
"""Rows that may lack the columns before the first that has them."""
BATCH = 500
"""Examples that are published, and acknowledged, together."""


class Seen(Protocol):
    """Memory for what came before; it may be larger than the process's."""

    def first(self, key: bytes, line: int) -> int | None:
        """None when the key is new; else the line where it came first."""
        ...

    def near(self, signature: bytes, line: int) -> int | None:
        """The line of an earlier text that is nearly the same."""
        ...


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What decides how a file's rows are read; with the file's hash it names an import."""

    columns: Mapping[str, str] = field(default_factory=dict)
    conversations: bool = False
    """Every row must be a list of turns."""
    fixed_columns: bool = False
    """All rows have the same columns."""
    language: str = ""
    """Rows whose question is in another language are refused. Empty: all are taken."""
    train_share: float | None = None
    """Share of questions that go to training, the others to the holdout. None: what the file's split column says, else training."""
    seed: int = 0


class Importer:
    """Rows to examples, in one pass. The tally tells what became of each row."""

    def __init__(
        self,
        options: ImportOptions,
        seen: Seen,
        tally: Tally,
        quality: QualityPolicy,
        own: Known = NOTHING,
        *,
        scales: Callable[[], Scales] = dict,
    ) -> None:
        """`scales` is asked when the first row is read."""
        self._options = options
        self._finder = ColumnFinder(options.columns, conversations=options.conversations, fixed=options.fixed_columns)
        self._seen = seen
        self._tally = tally
        self._quality = quality
        self._own = own
        self._scales = scales

    def examples(self, rows: Iterable[Row | Broken | Remark]) -> Iterator[tuple[int, Example]]:
        """The examples that can be used with the line of their row, personal data masked. Those that are held are among them: the loop keeps
        them out of training until a person has looked.

        Raises:
            PermanentError: none of the first hundred rows has the columns that are needed, or, in a table, the first has not. Otherwise rows
                without them are refused by line.
        """
        scales = self._scales()
        for row, columns in self._with_columns(rows, scales):
            self._tally.columns[columns.became] += 1
            try:
                found = examples_of(row.values, columns, scales, self._tally.notes)
            except RowRefusedError as error:
                self._tally.judge(Outcome(row.line, "refused", error.kind, str(error)))
                continue
            if len(found) > 1 and found[0].rejected is not None:
                self._tally.paired += len(found)
            for example in found:
                usable = self._judged(row.line, example)
                if usable is not None:
                    yield row.line, usable

    def _with_columns(self, rows: Iterable[Row | Broken | Remark], scales: Scales) -> Iterator[tuple[Row, Columns]]:
        """The rows that have what is needed; the others are judged, in the file's order."""
        unread: list[Outcome] = []
        failure: PermanentError | None = None
        known = False
        for row in rows:
            if isinstance(row, Remark):
                self._tally.remarks.append(f"line {row.line}: {row.text}")
                continue
            self._tally.rows += 1
            if isinstance(row, Broken):
                unread.append(Outcome(row.line, "refused", row.kind, row.reason, self._tally.rows))
            else:
                try:
                    values, columns = self._columns_of(with_lists(unfolded(row.values, self._options.columns)), scales)
                except RowRefusedError as error:
                    unread.append(Outcome(row.line, "refused", error.kind, str(error), self._tally.rows))
                except PermanentError as error:
                    unread.append(Outcome(row.line, "refused", "columns", str(error), self._tally.rows))
                    failure = failure or error
                else:
                    known = True
                    self._judge_all(unread)
                    yield Row(row.line, values), columns
            if not known and failure and (self._options.fixed_columns or len(unread) >= _COLUMNS_WITHIN):
                raise failure
            if known or not failure:
                self._judge_all(unread)
        if not known and failure:
            raise failure

    def _columns_of(self, values: Mapping[str, Any], scales: Scales) -> tuple[Mapping[str, Any], Columns]:
        """The row as it is read, and its columns under the names of the file.

        Raises:
            RowRefusedError: it compares answers, and none is better; or it is rated in a way that cannot be read.
            PermanentError: it has not what is needed.
        """
        if {"chosen", "rejected"} & self._options.columns.keys():
            return values, self._finder.find(values)
        pair = decided(values, scales)
        columns = self._finder.find(pair.values)
        if pair.read:
            own = tuple(told for told in columns.became if told[0] in values)
            columns = replace(columns, became=(*own, *pair.read))
        if not pair.read and not columns.rejected:
            if is_side(pair.values.get(columns.chosen), columns.chosen):
                raise RowRefusedError(
                    "label", f"{columns.chosen} names an answer, and it is not known which; --columns chosen=NAME names its column"
                )
            check_unread(values, [name for name, role in columns.became if role == UNREAD])
        return pair.values, columns

    def _judge_all(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self._tally.judge(outcome)
        outcomes.clear()

    def _judged(self, line: int, read: Example) -> Example | None:
        # First as it was read, before anything that takes time: some files hold one row a hundred thousand times.
        refusal = self._repeats(b"as read", line, read)
        example = prepared(read, self._own) if refusal is None else read
        refusal = refusal or self._refusal(line, example) or self._repeats(b"prepared", line, example)
        if refusal is not None:
            self._tally.judge(refusal)
            return None
        if self._options.train_share is not None:
            example = replace(example, split=side_of(example.origin, self._options.train_share, self._options.seed))
        found = self._findings(example)
        self._tally.judge(Outcome(line, "held", found[0].partition(":")[0], "; ".join(found)) if found else Outcome(line, "accepted"))
        if self._seen.first(b"question" + normalised(example.question).encode(), line) is None:
            self._tally.distinct_questions += 1
            if (like := self._seen.near(signature(example.question), line)) is not None:
                self._tally.add_near_duplicate(line, like)
        self._tally.add(example)
        return example

    def _repeats(self, form: bytes, line: int, example: Example) -> Outcome | None:
        earlier = self._seen.first(form + example.content_id.encode(), line)
        return None if earlier is None else Outcome(line, "refused", "duplicate", f"duplicate of line {earlier}")

    def _refusal(self, line: int, example: Example) -> Outcome | None:
        if not example.question or not example.answer or example.rejected == "":
            return Outcome(line, "refused", "empty", "its question or an answer holds nothing that can be read")
        size = sum(len(message.content.encode()) for message in example.messages)
        if size > _LARGEST_CONTEXT:
            return Outcome(line, "refused", "too long", f"its messages have {size} bytes together; at most {_LARGEST_CONTEXT} are taken")
        spoken = language_of(example.question, self._options.language)
        if spoken != self._options.language and self._options.language:
            return Outcome(
                line, "refused", "language", f"the question is in {spoken!r}, and --language asks for {self._options.language!r}"
            )
        return None

    def _findings(self, example: Example) -> tuple[str, ...]:
        """What the loop will find too. A disliked answer may be anything."""
        if example.liked is False:
            return ()
        prompt = json.dumps([message.model_dump() for message in example.messages], ensure_ascii=False)
        return findings(example.question, prompt, example.answer, example.rejected or "", self._quality)


class Progress(BaseModel):
    """How far an import got: the sidecar beside which it can be interrupted at any time."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    file: str
    sha256: str
    began_at: datetime
    """Every event of this import has it, so that publishing one again changes nothing."""
    published: int = 0
    """Accepted examples, in the file's order, whose events the log acknowledged."""
    finished: bool = False

    @classmethod
    def load(cls, sidecar: Path) -> Self | None:
        """What an earlier run left; None where there was none.

        Raises:
            PermanentError: the file is damaged.
        """
        try:
            return cls.model_validate_json(sidecar.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError) as error:
            raise PermanentError(f"{sidecar} is no import's progress ({error}); remove it to start this import anew") from error

    def save(self, sidecar: Path) -> None:
        """Whole or not at all."""
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(sidecar, self.model_dump_json(indent=2).encode())


async def publish(
    examples: Iterable[tuple[int, Example]],
    bus: Bus,
    progress: Progress,
    *,
    operator: str,
    save: Callable[[Progress], None],
) -> Progress:
    """Publish what `progress` lacks, batch by batch; after each acknowledged one `save` is called.

    Raises:
        TransientError: the log did not acknowledge a batch. What was acknowledged before is saved.
    """
    batch: list[Any] = []
    skip = progress.published
    for number, (line, example) in enumerate(examples):
        if number < skip:
            continue
        origin = f"{progress.file} {progress.sha256[:12]} line {line}"
        batch.append(imported(example, origin=origin, operator=operator, occurred_at=progress.began_at))
        if len(batch) == BATCH:
            progress = await _acknowledged(batch, bus, progress, save)
            batch = []
    if batch:
        progress = await _acknowledged(batch, bus, progress, save)
    progress = progress.model_copy(update={"finished": True})
    save(progress)
    return progress


async def _acknowledged(batch: list[Any], bus: Bus, progress: Progress, save: Callable[[Progress], None]) -> Progress:
    await bus.publish(*batch)
    progress = progress.model_copy(update={"published": progress.published + len(batch)})
    save(progress)
    return progress
