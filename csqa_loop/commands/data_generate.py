"""`csqa data generate`: new examples by a judge model."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from csqa_loop import bootstrap
from csqa_loop.commands.data_reading import (
    AsJson,
    CategoryColumn,
    Encoding,
    File,
    FormatOption,
    Mapped,
    Seed,
    Table,
    check_out,
    read_all,
    reading_of,
)
from csqa_loop.commands.data_view import bar
from csqa_loop.data.generating import GenerationMethod, Generator, Made, MadeFrom, generate
from csqa_loop.data.rules.examples import Example, as_row
from csqa_loop.data.seen import SeenBefore
from csqa_loop.data.wording_files import generation_prompts
from csqa_loop.errors import ConfigurationError, PermanentError
from csqa_loop.files.durable import write_rows
from csqa_loop.settings import Settings, load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("generate")(generate_)


def generate_(
    file: File,
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSON lines; FILE.part holds what is finished until all is.")],
    method: Annotated[GenerationMethod, typer.Option(help="Say it anew through another language; another question; a harder question.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many examples to make; fewer where FILE has too few rows that give one.")] = 100,
    seed: Seed = 0,
    format_: FormatOption = "auto",
    table: Table = "",
    encoding: Encoding = "",
    columns: Mapped = "",
    category_column: CategoryColumn = "",
    as_json: AsJson = False,
) -> None:
    """Let the judge model (CSQA_JUDGE__URL, CSQA_JUDGE__MODEL) write new examples from those of FILE.

    Left out: what is too short or too long, nearly repeats a question, is in another language, answers nothing, or states a number that its
    source does not. An interrupted run goes on where it was.

    Example: csqa data generate tickets.jsonl --out new.jsonl --method self-instruct --n 200 --seed 1
    """
    settings = load_settings()
    if not settings.judge.url:
        raise ConfigurationError(
            "no judge is configured: CSQA_JUDGE__URL must name an OpenAI-compatible endpoint, such as http://127.0.0.1:8080/v1"
        )
    if not out.parent.is_dir():
        raise PermanentError(f"--out {out}: {out.parent} is not a folder")
    check_out(out, file)
    reading = reading_of(file, format_, table, columns, category_column, "", encoding=encoding)
    sources, _ = read_all(reading)
    part = out.with_name(f"{out.name}.part")
    finished = asyncio.run(_generate(settings, sources, part, MadeFrom(method, reading.source.name, reading.key, seed), n))
    made = [entry.example for entry in finished if entry.example is not None]
    write_rows(out, (as_row(example) for example in made))
    part.unlink()
    refused = [entry for entry in finished if entry.example is None]
    if as_json:
        listed = [{"line": entry.line, "reason": entry.refused} for entry in refused]
        print(json.dumps({"file": str(file), "out": str(out), "made": len(made), "refused": listed}, ensure_ascii=False))
        return
    print(f"{len(made)} examples made in {out}; {len(refused)} rows gave none")
    for reason, count in Counter(entry.refused for entry in refused).most_common(10):
        print(f"  {count}: {reason}")


async def _generate(settings: Settings, sources: list[tuple[int, Example]], part: Path, made_from: MadeFrom, wanted: int) -> list[Made]:
    judge = bootstrap.build_judge(settings)
    assert judge is not None  # the URL is there
    try:
        with SeenBefore() as seen, bar("generating", wanted) as (progress, task):
            generator = Generator(judge, generation_prompts(), made_from.method, seen)
            return await generate(
                generator, sources, part, made_from, wanted=wanted, told=lambda entry: progress.advance(task, entry.example is not None)
            )
    finally:
        await judge.stop()
