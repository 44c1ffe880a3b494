"""The file that a `csqa data` command reads: its options, and its examples."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from csqa_loop import bootstrap
from csqa_loop.commands.data_view import bar, followed
from csqa_loop.data.files import CONTAINERS, DataFile, open_data_file
from csqa_loop.data.importing import Importer, ImportOptions
from csqa_loop.data.rules.columns import parse_mapping
from csqa_loop.data.rules.examples import Example
from csqa_loop.data.rules.report import Tally
from csqa_loop.data.rules.scales import scales_of
from csqa_loop.data.seen import SeenBefore
from csqa_loop.errors import PermanentError
from csqa_loop.evidence.rules.quality import QualityPolicy
from csqa_loop.settings import load_settings
from csqa_loop.text.masking import Known

Format = Literal["auto", "csv", "json", "jsonl", "sqlite", "alpaca", "sharegpt"]
_READING_VERSION = 2
"""Another number makes finished imports start anew, since what was published may then be counted in another order. Nothing doubles: an example's
event id follows from its content.
"""
_ALPACA = {"question": "instruction", "chosen": "output"}

File = Annotated[Path, typer.Argument(metavar="FILE", help="CSV, TSV, JSON list, JSON lines or SQLite.")]
FormatOption = Annotated[Format, typer.Option("--format", help="auto looks at the file; alpaca and sharegpt ask for these columns.")]
Table = Annotated[str, typer.Option(help="Table of an SQLite file; not needed where it has one.")]
Mapped = Annotated[
    str,
    typer.Option(
        "--columns", metavar="ROLE=COLUMN,...", help="question, chosen, rejected, liked, category, input, system, history, split."
    ),
]
Encoding = Annotated[
    str, typer.Option(metavar="NAME", help="Encoding of FILE, such as cp1252, gb18030 or utf-16-le. Default: told by its bytes.")
]
CategoryColumn = Annotated[str, typer.Option(metavar="NAME", help="Short for --columns category=NAME.")]
Language = Annotated[str, typer.Option(help="en or zh: refuse rows whose question is in another language.")]
Report = Annotated[list[Path] | None, typer.Option(metavar="PATH", help="FILE.json, FILE.html or a folder for PNG files; may be repeated.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="JSON lines; - is stdout.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]


@dataclass(frozen=True)
class Reading:
    """A file with the options that decide what its rows mean."""

    source: DataFile
    options: ImportOptions
    quality: QualityPolicy
    own: Known
    """What is the company's own, and so not personal."""
    encoding: str = ""
    """As it was named; empty where the bytes tell it."""

    @property
    def key(self) -> str:
        """Names an import: another file or another option is another one."""
        said = [self.source.sha256, self.source.container, self.source.table, repr(self.options), _READING_VERSION]
        said += [self.source.encoding] if self.encoding else []
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]

    @contextmanager
    def examples(self, tally: Tally, what: str = "reading") -> Iterator[Iterator[tuple[int, Example]]]:
        """The examples that can be used with their lines, in one pass that a bar on stderr follows."""
        with SeenBefore() as seen, bar(what, self.source.length) as (progress, task):
            importer = Importer(
                self.options, seen, tally, self.quality, self.own, scales=lambda: scales_of(self.source.rows(), self.options.columns)
            )
            yield importer.examples(followed(self.source.rows(), progress, task))

    def report(self, tally: Tally, **more: object) -> dict[str, Any]:
        """The tally's report, and which file it is about."""
        told = tally.report()
        encoding = self.source.encoding.removesuffix("-sig")
        about = {
            "file": str(self.source.path),
            "format": self.source.container,
            "encoding": encoding,
            "encoding_guessed": self.source.guessed,
        }
        if self.source.guessed:
            told["warnings"].insert(
                0,
                f"the encoding is a guess: {encoding}; where letters look wrong in `csqa data report`, name the right one with --encoding",
            )
        return {**about, **told, **more}


def reading_of(
    file: Path,
    format_: Format,
    table: str,
    columns: str,
    category_column: str,
    language: str,
    train_share: float | None = None,
    seed: int = 0,
    *,
    encoding: str = "",
) -> Reading:
    """Look at a file and take the options together.

    Raises:
        PermanentError: the file or an option is wrong; the message names it.
    """
    given = parse_mapping(columns) | ({"category": category_column} if category_column else {})
    if format_ == "alpaca":
        given = _ALPACA | given
    source = open_data_file(file, container=format_ if format_ in CONTAINERS else None, table=table, encoding=encoding)
    options = ImportOptions(
        columns=given,
        conversations=format_ == "sharegpt",
        fixed_columns=source.container in {"csv", "sqlite"},
        language=language,
        train_share=train_share,
        seed=seed,
    )
    settings = load_settings()
    return Reading(source, options, bootstrap.pair_policy(settings).quality, settings.privacy.known, encoding)


def check_out(out: Path, file: Path) -> None:
    """Refuse to write over the file that is read, before the work begins.

    Raises:
        PermanentError: both are one file.
    """
    if out.exists() and file.exists() and out.samefile(file):
        raise PermanentError(f"--out would write {out} over FILE itself; name another")


def first_reason(tally: Tally) -> str:
    """Why the first row that was not taken was not, as the rest of a sentence."""
    return f": line {tally.outcomes[0].line}: {tally.outcomes[0].reason}" if tally.outcomes else ""


def read_all(reading: Reading) -> tuple[list[tuple[int, Example]], Tally]:
    """Every example that can be used, with its line.

    Raises:
        PermanentError: there is none.
    """
    tally = Tally()
    with reading.examples(tally) as examples:
        found = list(examples)
    if not found:
        raise PermanentError(
            f"{reading.source.path}: no row can be used{first_reason(tally)}; `csqa data report {reading.source.path}` lists them"
        )
    return found, tally
