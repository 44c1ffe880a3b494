"""`csqa data`: training data in files."""

import asyncio
import getpass
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from csqa_loop import bootstrap
from csqa_loop.commands import data_generate
from csqa_loop.commands.data_reading import (
    AsJson,
    CategoryColumn,
    Encoding,
    File,
    FormatOption,
    Language,
    Mapped,
    Out,
    Reading,
    Report,
    Seed,
    Table,
    check_out,
    first_reason,
    read_all,
    reading_of,
)
from csqa_loop.commands.data_view import check_target, show, write_report
from csqa_loop.data.importing import Progress, publish
from csqa_loop.data.rules import augmentation
from csqa_loop.data.rules.examples import Example, as_row
from csqa_loop.data.rules.report import Outcome, Tally
from csqa_loop.data.rules.split import stratified
from csqa_loop.data.wording_files import augmentation_wording
from csqa_loop.errors import PermanentError
from csqa_loop.events import now
from csqa_loop.files.durable import write_rows
from csqa_loop.settings import Settings, load_settings
from csqa_loop.text.languages import language_of

app = typer.Typer(
    no_args_is_help=True, help="Import, check, split and multiply training data in files (CSV, JSON, SQLite, Alpaca, ShareGPT)."
)

_INTERRUPTED = 130
_FAR_OFF = 0.2
"""Of the rows that were to be held out; rounding alone stays below."""
data_generate.register(app)


@app.command("import")
def import_(
    file: File,
    format_: FormatOption = "auto",
    table: Table = "",
    encoding: Encoding = "",
    columns: Mapped = "",
    category_column: CategoryColumn = "",
    language: Language = "",
    split_share: Annotated[
        float | None,
        typer.Option("--split", min=0, max=1, metavar="SHARE", help="Share of questions for training; the others are held out."),
    ] = None,
    seed: Seed = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report; publish nothing.")] = False,
    report: Report = None,
    operator: Annotated[str, typer.Option(help="Who imports, for the record. Default: the user who is logged in.")] = "",
    as_json: AsJson = False,
) -> None:
    """Bring the examples of FILE into the log: pairs (chosen and rejected), rated answers (a thumb) and demonstrations.

    Rows that cannot be read or used are refused with their line and reason; the others are taken. An interrupted import goes on where it
    was: run the same command again. Importing twice changes nothing. Personal data is masked.

    Example: csqa data import tickets.csv --columns question=Ticket,chosen="Good reply",rejected="Bad reply" --split 0.9
    """
    for target in report or []:
        check_target(target)
    settings = load_settings()
    reading = reading_of(file, format_, table, columns, category_column, language, split_share, seed, encoding=encoding)
    folder = settings.var / "imports"
    sidecar, refusals = folder / f"{reading.key}.json", folder / f"{reading.key}.refused.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        listed = refusals.open("w", encoding="utf-8")
    except OSError as error:
        raise PermanentError(f"{refusals} cannot be written: {error.strerror}; CSQA_VAR must name a folder that can be") from error
    before = Progress.load(sidecar)
    progress = before or Progress(file=reading.source.name, sha256=reading.source.sha256, began_at=now())
    with closing(listed) as handle:
        tally = Tally(listener=lambda outcome: _write_outcome(handle, outcome))
        try:
            progress = asyncio.run(_import(settings, reading, tally, progress, sidecar, _operator(operator), dry_run=dry_run))
        except KeyboardInterrupt:
            done = Progress.load(sidecar)
            print(
                f"csqa: interrupted; {done.published if done else 0} examples are in the log. The same command goes on from there.",
                file=sys.stderr,
            )
            raise typer.Exit(_INTERRUPTED) from None
    told = reading.report(
        tally,
        dry_run=dry_run,
        published=0 if dry_run else progress.published - (before.published if before else 0),
        published_before=before.published if before else 0,
        progress_file=str(sidecar),
        refused_file=str(refusals),
    )
    if before_otherwise := _published_otherwise(folder, sidecar, progress):
        told["warnings"].append(
            f"{before_otherwise} examples of this file were published before with other options; "
            "the log keeps each as it came first, so another split or category changes nothing about those"
        )
    _tell(told, tally, report, as_json=as_json)
    if not as_json:
        print(_summary(told, reading))
    if not tally.kinds:
        raise PermanentError(f"{file}: no row can be used{first_reason(tally)}; every reason is in {refusals}")


def _published_otherwise(folder: Path, own: Path, progress: Progress) -> int:
    """How many examples of the same content an import with other options has published, as far as this machine remembers."""
    found = 0
    for sidecar in folder.glob("*.json"):
        try:
            other = Progress.load(sidecar)
        except PermanentError:
            continue  # it stops the import that it belongs to, with its reason
        if sidecar != own and other and other.sha256 == progress.sha256:
            found = max(found, other.published)
    return found


def _operator(given: str) -> str:
    try:
        operator = given.strip() or getpass.getuser()
    except (KeyError, OSError, ImportError):
        operator = ""
    if not 0 < len(operator) <= 200:
        raise PermanentError("--operator must name who imports, in at most 200 characters; this machine does not tell who is logged in")
    return operator


def _summary(told: dict[str, Any], reading: Reading) -> str:
    if told["dry_run"]:
        return f"{sum(told['kinds'].values())} examples can be imported; nothing was published (--dry-run)"
    earlier = f"; {told['published_before']} were published by an earlier run" if told["published_before"] else ""
    return (
        f"{told['published']} examples of {reading.source.path} published{earlier}. Every row that was not accepted: {told['refused_file']}"
    )


def _write_outcome(handle: Any, outcome: Outcome) -> None:
    entry = {"line": outcome.line, "verdict": outcome.verdict, "kind": outcome.kind, "reason": outcome.reason}
    handle.write(json.dumps(entry, ensure_ascii=False) + "\n")


async def _import(
    settings: Settings, reading: Reading, tally: Tally, progress: Progress, sidecar: Path, operator: str, *, dry_run: bool
) -> Progress:
    with reading.examples(tally, "importing") as examples:
        if dry_run:
            for _ in examples:
                pass
            return progress
        bus = bootstrap.build_bus(settings)
        try:
            await bus.start()
            await bus.ensure_topics()
            return await publish(examples, bus, progress, operator=operator, save=lambda state: state.save(sidecar))
        finally:
            await bus.stop()


def _tell(told: dict[str, Any], tally: Tally, targets: list[Path] | None, *, as_json: bool) -> None:
    for target in targets or []:
        write_report(target, told, tally)
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        show(told)


@app.command("report")
def report_(
    file: File,
    format_: FormatOption = "auto",
    table: Table = "",
    encoding: Encoding = "",
    columns: Mapped = "",
    category_column: CategoryColumn = "",
    language: Language = "",
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Say what FILE is worth before it is imported: counts, lengths, diversity, languages, duplicates, balance, warnings.

    Example: csqa data report tickets.csv --report tickets.html
    """
    for target in report or []:
        check_target(target)
    reading = reading_of(file, format_, table, columns, category_column, language, encoding=encoding)
    tally = Tally()
    with reading.examples(tally) as examples:
        for _ in examples:
            pass
    _tell(reading.report(tally), tally, report, as_json=as_json)


@app.command()
def split(
    file: File,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for train.jsonl and holdout.jsonl; made where it is missing.")],
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of rows that are held out.")] = 0.1,
    by: Annotated[Literal["category", "language", "none"], typer.Option(help="Each of these gives its share.")] = "category",
    seed: Seed = 0,
    format_: FormatOption = "auto",
    table: Table = "",
    encoding: Encoding = "",
    columns: Mapped = "",
    category_column: CategoryColumn = "",
    as_json: AsJson = False,
) -> None:
    """Divide FILE into training and holdout, stratified. Questions that nearly repeat one another stay together, and so do rows made from
    one row by `augment` or `generate`.

    Example: csqa data split tickets.jsonl --out parts --share 0.1 --by category --seed 1
    """
    targets = {side: out / f"{side}.jsonl" for side in ("train", "holdout")}
    for target in targets.values():
        check_out(target, file)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermanentError(f"--out {out} is no folder and cannot become one: {error.strerror}; name a folder") from error
    found, _ = read_all(reading_of(file, format_, table, columns, category_column, "", encoding=encoding))
    examples = [example for _, example in found]
    sides = stratified([e.question for e in examples], [_stratum(e, by) for e in examples], share, seed, [e.origin for e in examples])
    told: dict[str, Any] = {"file": str(file), "out": str(out)}
    for side, target in targets.items():
        rows = [as_row(example) | {"split": side} for example, own in zip(examples, sides, strict=True) if own == side]
        told[side] = write_rows(target, rows)
    print(json.dumps(told, ensure_ascii=False) if as_json else f"{told['train']} rows to train, {told['holdout']} held out, in {out}")
    if share and abs(told["holdout"] - share * len(examples)) > max(1, _FAR_OFF * share * len(examples)):
        print(f"csqa: {share:g} of the rows cannot be held out: too many nearly repeat one another, and stay together", file=sys.stderr)


def _stratum(example: Example, by: str) -> str:
    if by == "language":
        return language_of(example.question, "other")
    return example.category if by == "category" else ""


@app.command()
def augment(
    file: File,
    out: Out,
    methods: Annotated[
        str, typer.Option(help="Of synonyms, phrasing, typos, emotion; comma separated, taken in turn.")
    ] = "synonyms,phrasing",
    factor: Annotated[int, typer.Option(min=1, max=100, help="Variants of each row, beside the row itself.")] = 1,
    seed: Seed = 0,
    names: Annotated[str, typer.Option(help="Names that stay as they are, such as titles of policies; comma separated.")] = "",
    format_: FormatOption = "auto",
    table: Table = "",
    encoding: Encoding = "",
    columns: Mapped = "",
    category_column: CategoryColumn = "",
    as_json: AsJson = False,
) -> None:
    """Write FILE with more ways to ask its questions, in English and Chinese. Answers, numbers and names stay; each new row says what made it.

    Example: csqa data augment tickets.jsonl --out more.jsonl --methods synonyms,typos --factor 2 --seed 1
    """
    chosen = _chosen(methods)
    check_out(out, file)
    found, _ = read_all(reading_of(file, format_, table, columns, category_column, "", encoding=encoding))
    kept = [name.strip() for name in names.split(",") if name.strip()]
    augmenter = augmentation.Augmenter(augmentation_wording(), seed=seed, names=kept)
    rows = (as_row(row) for _, example in found for row in (example, *augmenter.variants(example, chosen, factor)))
    count = write_rows(out, rows)
    told = {"file": str(file), "out": str(out), "rows": len(found), "made": count - len(found)}
    if str(out) != "-":
        print(json.dumps(told, ensure_ascii=False) if as_json else f"{told['made']} rows made from {told['rows']}, all in {out}")


def _chosen(methods: str) -> list[augmentation.AugmentationMethod]:
    known: dict[str, augmentation.AugmentationMethod] = {method: method for method in augmentation.METHODS}
    asked = [name.strip() for name in methods.split(",") if name.strip()]
    unknown = [name for name in asked if name not in known]
    if unknown or not asked:
        raise PermanentError(f"--methods {methods!r}: {unknown[0] if unknown else 'nothing'!r} is none of {', '.join(known)}")
    return [known[name] for name in asked]
