"""The rows of a run directory's Parquet files: what is trained on, and what is only measured."""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from csqa_loop.errors import PermanentError
from csqa_loop.events import ChatMessage
from csqa_loop.evidence.rules import pairs as preferences
from csqa_loop.evidence.rules.examples import UnpairedExample
from csqa_loop.training.rules.trigger import data_hash

Split = Literal["question", "time"]
SPLITS: tuple[Split, ...] = get_args(Split)


class ParquetRow(BaseModel):
    """What every example has: an id, the question, the prompt exactly as the model got it, and where it came from."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    question: str
    prompt: tuple[ChatMessage, ...] = Field(min_length=1)
    category: str = ""
    source: str = ""
    weight: float = Field(default=1.0, ge=0)
    message_id: str = ""
    answer_event_id: str = ""
    evidence_event_id: str = ""

    @field_validator("prompt", mode="before")
    @classmethod
    def _parse_json(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value


class PairRow(ParquetRow):
    """One row of `pairs.parquet`, `replay.parquet` or `holdout.parquet`: a better answer and a worse one."""

    pair_id: str = Field(min_length=1)
    chosen: str = Field(min_length=1)
    rejected: str
    policy_id: str = ""
    section: str = ""
    split: Split = "question"
    """Of `holdout.parquet`: its question is held out for good, or it was among the newest when the run was claimed."""

    @property
    def example_id(self) -> str:
        """The pair's id."""
        return self.pair_id


class SingleRow(ParquetRow):
    """An example of one answer."""

    example_id: str = Field(min_length=1)
    answer: str = Field(min_length=1)

    @classmethod
    def of(cls, example: UnpairedExample) -> Self:
        """The ledger's example as a row."""
        return cls.model_validate(asdict(example) | {"source": "import" if example.contributor else "thumb"})


class Unpaired(SingleRow):
    """One row of `unpaired.parquet`: a liked or disliked answer, without a better or worse one."""

    liked: bool


class Demonstration(SingleRow):
    """One row of `demonstrations.parquet`: an answer as it should be."""


_R = TypeVar("_R", bound=ParquetRow)
_PAIR_COLUMNS = (
    "pair_id", "question", "prompt", "chosen", "rejected", "policy_id", "section", "message_id", "evidence_event_id", "answer_event_id",
    "source", "weight", "category",
)  # fmt: skip


def read(file: Path, kind: type[_R]) -> tuple[_R, ...]:
    """The rows of a file, in its order.

    Raises:
        PermanentError: the file is missing, is no Parquet, or a row of it is wrong.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        rows = parquet.read_table(file).to_pylist()
    except FileNotFoundError as error:
        msg = f"{file} is missing; the loop writes it before it requests the run"
        raise PermanentError(msg) from error
    except (pa.ArrowInvalid, OSError) as error:
        msg = f"{file} is not a Parquet file of {kind.__name__} rows: {error}"
        raise PermanentError(msg) from error
    read_rows = []
    for number, row in enumerate(rows):
        try:
            read_rows.append(kind.model_validate({name: value for name, value in row.items() if value is not None}))
        except ValidationError as error:
            msg = f"{file}, row {number}: {first_problem(error)}"
            raise PermanentError(msg) from error
        except ValueError as error:
            msg = f"{file}, row {number}: {error}"
            raise PermanentError(msg) from error
    return tuple(read_rows)


def examples_hash(
    pairs: Iterable[preferences.Pair], unpaired: Iterable[Unpaired] = (), demonstrations: Iterable[Demonstration] = ()
) -> str:
    """`trigger.data_hash` over everything that a run may train on, repeated pairs among `pairs`: what `data_hash_of` finds in its files."""
    rows = [(pair.pair_id, pair.prompt, pair.chosen, pair.rejected) for pair in pairs]
    rows += [(row.example_id, _prompt_text(row), row.answer, str(row.liked)) for row in unpaired]
    rows += [(row.example_id, _prompt_text(row), row.answer, "") for row in demonstrations]
    return data_hash(rows)


def data_hash_of(*files: Path) -> str:
    """`trigger.data_hash` over files of examples, from the very text that they hold."""
    from pyarrow import parquet

    rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
    return data_hash(
        (row["pair_id"], row["prompt"], row["chosen"], row["rejected"])
        if "pair_id" in row
        else (row["example_id"], row["prompt"], row["answer"], str(row.get("liked", "")))
        for row in rows
    )


def pairs_file(pairs: Sequence[preferences.Pair]) -> bytes:
    """The ledger's pairs as Parquet. The prompt stays the JSON text that it was."""
    return _parquet([{name: asdict(pair)[name] for name in _PAIR_COLUMNS} for pair in pairs], _PAIR_COLUMNS)


def holdout_file(pairs: Sequence[preferences.Pair]) -> bytes:
    """Held-out pairs as Parquet: what is not held out for good is held back for its time."""
    rows = [{name: asdict(pair)[name] for name in _PAIR_COLUMNS} | {"split": "question" if pair.held_out else "time"} for pair in pairs]
    return _parquet(rows, (*_PAIR_COLUMNS, "split"))


def rows_file(rows: Sequence[Unpaired] | Sequence[Demonstration], kind: type[ParquetRow]) -> bytes:
    """Examples as Parquet."""
    return _parquet([row.model_dump(mode="json") | {"prompt": _prompt_text(row)} for row in rows], tuple(kind.model_fields))


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong: where, what, and why."""
    first = error.errors(include_url=False, include_input=True)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the body"
    return f"{where} is {str(first.get('input'))[:80]!r}: {first['msg']}"


def _prompt_text(row: ParquetRow) -> str:
    return json.dumps([message.model_dump(mode="json") for message in row.prompt], ensure_ascii=False)


def _parquet(rows: list[dict[str, object]], columns: tuple[str, ...]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    types = {"weight": pa.float64(), "liked": pa.bool_()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in columns])
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue()
