"""New examples by a judge model, one source row after the other; what is finished is on disk, so that a second run goes on."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from csqa_loop.data.importing import Seen
from csqa_loop.data.rules.candidates import WrittenExample, objection, parsed, source_of
from csqa_loop.data.rules.columns import ColumnFinder
from csqa_loop.data.rules.examples import Example, as_row
from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.data.rules.shapes import examples_of
from csqa_loop.errors import CsqaError, PermanentError
from csqa_loop.events import ChatMessage
from csqa_loop.evidence.judge.judge import Judge
from csqa_loop.evidence.rules.quality import cleaned
from csqa_loop.files.durable import write_atomically
from csqa_loop.retry import retried
from csqa_loop.text.languages import language_of
from csqa_loop.text.normal import encodable
from csqa_loop.text.similarity import signature

GenerationMethod = Literal["back-translation", "self-instruct", "evol-instruct"]
METHODS: tuple[GenerationMethod, ...] = get_args(GenerationMethod)
_PAUSES = (1.0, 2.0, 4.0)
"""Seconds before each further attempt."""
_DOWN_ROWS = 3
"""Rows in a row without any answer: then the judge is down, and going on would only refuse good rows."""
_MAX_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Made:
    """What came of one source row: a new example, or the reason why there is none. It is one line of the part file."""

    line: int
    question: str
    """The source's: a line with a conversation has several."""
    example: Example | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What a part file is made from: rows of two runs must not mix in it. The file's name is for people."""

    method: GenerationMethod
    file: str
    source: str
    """Names the file's content and how it was read."""
    seed: int

    def __str__(self) -> str:
        return f"{self.method} of {self.file} ({self.source[:12]}) with --seed {self.seed}"

    def same(self, other: "MadeFrom") -> bool:
        """Whether rows made from both may stand in one file."""
        return replace(self, file=other.file) == other


class Generator:
    """Asks the judge, filters what it says."""

    def __init__(
        self,
        judge: Judge,
        prompts: Mapping[str, Any],
        method: GenerationMethod,
        seen: Seen,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._judge = judge
        self._prompts = prompts
        self._method = method
        self._seen = seen
        self._sleep = sleep

    def know(self, line: int, question: str) -> int | None:
        """Remember a question; the line of an earlier one that it nearly repeats, where there is one."""
        return self._seen.near(signature(question), line)

    async def make(self, line: int, original: Example) -> Made:
        """One new example from one source row.

        Raises:
            TransientError: the judge did not answer, not even after pauses.
            PermanentError: the judge refused the request.
        """
        try:
            candidate = await self._candidate(original)
        except RowRefusedError as error:
            return Made(line, original.question, refused=str(error))
        if candidate is None:
            return Made(line, original.question, refused="the judge's reply holds no JSON object with question and answer")
        reason = objection(candidate, original, self._prompts["evasions"])
        if reason is None and (earlier := self.know(-line, candidate.question)) is not None:
            reason = f"its question nearly repeats that of line {abs(earlier)}"
        if reason is not None:
            return Made(line, original.question, refused=reason)
        return Made(line, original.question, self._example(original, candidate))

    def _example(self, original: Example, candidate: WrittenExample) -> Example:
        fresh = original.asked_as(candidate.question, generator=f"{self._method}:{self._judge.model}"[:200])
        if candidate.answer == original.answer:
            return fresh
        # The rejected answer, or a thumb, belongs to the question that it was given to.
        return replace(fresh, answer=candidate.answer, rejected=None, liked=None)

    async def _candidate(self, original: Example) -> WrittenExample | None:
        language = language_of(original.question)
        names = self._prompts["languages"]
        if self._method == "back-translation":
            abroad = await self._ask(language=names[self._prompts["through"][language]], question=original.question)
            return WrittenExample(_clean(await self._ask(language=names[language], question=abroad)), original.answer)
        reply = await self._ask(language=names[language], question=original.question, answer=original.answer, source=source_of(original))
        found = parsed(reply)
        return found and WrittenExample(_clean(found.question), _clean(found.answer))

    async def _ask(self, **words: str) -> str:
        asked = self._prompts[self._method]
        messages = [ChatMessage(role="user", content=asked["prompt"].format(**words))]
        complete = partial(self._judge.complete, messages, max_tokens=_MAX_TOKENS, temperature=asked["temperature"])
        # It may go into the next request as it is.
        return _readable((await retried(complete, _PAUSES, sleep=self._sleep)).strip())


async def generate(
    generator: Generator,
    sources: Sequence[tuple[int, Example]],
    part: Path,
    made_from: MadeFrom,
    *,
    wanted: int,
    told: Callable[[Made], None],
) -> list[Made]:
    """Go through the sources in an order that the seed decides until `wanted` examples are made or there are no more.

    `part` says first what it is made from, and gets a line for each source as soon as it is finished; sources that it already names are not
    asked for again.

    Raises:
        TransientError: the judge is down: three rows in a row got no answer. What is finished stays in `part`.
        PermanentError: it refused three rows in a row (a wrong key, say), or `part` is damaged or made from something else.
    """
    finished = list(read_part(part, made_from))
    done = {(entry.line, entry.question) for entry in finished}
    for line, example in sources:
        generator.know(line, example.question)
    for entry in finished:
        if entry.example is not None:
            generator.know(-entry.line, entry.example.question)
        told(entry)
    order = list(sources)
    random.Random(made_from.seed).shuffle(order)  # a seeded draw, no secret
    todo = [(line, example) for line, example in order if (line, example.question) not in done]
    down: list[Made] = []
    with part.open("a", encoding="utf-8") as handle:
        if not handle.tell():
            handle.write(json.dumps({"made_from": asdict(made_from)}) + "\n")
        for line, example in todo:
            if sum(entry.example is not None for entry in finished) >= wanted:
                break
            try:
                fresh = [*down, await generator.make(line, example)]
            except CsqaError as error:
                down.append(Made(line, example.question, refused=str(error)))
                if len(down) == _DOWN_ROWS:
                    raise type(error)(f"{error}; what is finished lies in {part}: run the same command again to go on") from error
                continue
            down = []
            _append(handle, fresh, finished, told)
        _append(handle, down, finished, told)
    return finished


def _append(handle: Any, fresh: Iterable[Made], finished: list[Made], told: Callable[[Made], None]) -> None:
    for entry in fresh:
        handle.write(_line(entry) + "\n")
        finished.append(entry)
        told(entry)
    handle.flush()


def read_part(part: Path, made_from: MadeFrom) -> Iterator[Made]:
    """What an earlier run finished; nothing where there was none. A last line that was cut off is left out, and removed from the file.

    Raises:
        PermanentError: another line is damaged, or the file is made from something else.
    """
    if not part.exists():
        return
    whole, newline, cut = part.read_bytes().rpartition(b"\n")
    if cut:
        write_atomically(part, whole + newline)
    # At line feeds alone: JSON texts may hold what else Python takes for the end of a line.
    for number, line in enumerate(whole.split(b"\n") if newline else (), start=1):
        try:
            if number == 1:
                began_as = MadeFrom(**json.loads(line)["made_from"])
            else:
                yield _entry(line)
                continue
        except (ValueError, KeyError, TypeError, AttributeError, PermanentError) as error:
            raise PermanentError(f"{part}, line {number} is damaged ({error}); remove the file to begin anew") from error
        if not began_as.same(made_from):
            raise PermanentError(
                f"{part} holds what is finished of {began_as}, and this would be {made_from}; "
                "run the first command again to finish it, name another --out, or remove the file"
            )


def _entry(line: bytes) -> Made:
    read = json.loads(line)
    example = read["example"]
    return Made(read["line"], read["question"], example and examples_of(example, ColumnFinder().find(example))[0], read["refused"])


def _line(entry: Made) -> str:
    value = {"line": entry.line, "question": entry.question, "example": entry.example and as_row(entry.example), "refused": entry.refused}
    # As ASCII no character is cut in two where the power goes.
    return json.dumps(value)


def _clean(text: str) -> str:
    return cleaned(_readable(text))


def _readable(text: str) -> str:
    if not encodable(text):
        raise RowRefusedError("encoding", "the judge's reply holds half of a surrogate pair, which no UTF-8 text can hold")
    return text
