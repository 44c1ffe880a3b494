"""`csqa knowledge evaluate` and `calibrate`: what retrieval finds of labelled questions, over a folder of documents."""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csqa_loop.errors import ConfigurationError, PermanentError
from csqa_loop.events import now
from csqa_loop.knowledge.encoder import load_encoder
from csqa_loop.knowledge.evaluation import AT, Coverage, Evaluation, Quality, best_threshold, evaluate, read_questions, stages_over
from csqa_loop.knowledge.folder import read_folder
from csqa_loop.settings import load_settings

_FILE = typer.Argument(
    metavar="FILE", help='CSV with the columns question and document, or JSON lines: {"policy_id", "questions": [...], "needs": [...]}.'
)
_FOLDER = typer.Option("--policies", metavar="DIR", help="The documents that are asked about, as for `csqa policies sync`.")
_EVALUATE = """Measure how often retrieval finds the passage that answers: recall, MRR and nDCG of each stage side by side, by language and document.

It needs no running service: the folder is cut, embedded with the configured encoder (CSQA_ENCODER__*) and asked here. With `needs` a passage counts when it contains
all of these strings, else when it is of the document.

  csqa knowledge evaluate questions.csv --policies policies/

  csqa knowledge evaluate questions.jsonl --policies policies/ --json --plot recall.svg
"""
_CALIBRATE = """Measure from which score on a question is covered by the documents, for the configured encoder: CSQA_RETRIEVAL__MIN_SCORE.

Every question is asked twice: with its document, when it should be covered, and as if its document were missing, when it should not. Shown are precision, recall and
false alarms at each threshold, and the one where recall exceeds false alarms by most. What another document says too counts as a false alarm, so
the truth is better than it looks; where the curves hardly part, no threshold tells what is covered.

  csqa knowledge calibrate questions.csv --policies policies/
"""


def register(app: typer.Typer) -> None:
    """Add the commands to `csqa knowledge`."""
    app.command("evaluate", help=_EVALUATE)(evaluate_stages)
    app.command("calibrate", help=_CALIBRATE)(calibrate)


def evaluate_stages(
    file: Annotated[Path, _FILE],
    policies: Annotated[Path, _FOLDER],
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, for scripts.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="SVG", help="Draw recall at 1 to 10 for each stage.")] = None,
) -> None:
    """Recall, MRR and nDCG of each stage."""
    measured = _measured(file, policies)
    if plot:
        _draw(measured, plot)
    if as_json:
        print(json.dumps(asdict(measured), ensure_ascii=False, indent=1))
        return
    console = Console()
    console.print(_table("stage", measured.stages))
    console.print(_table("language", measured.languages))
    console.print(_table("document", measured.documents))
    covered = next((one for one in measured.coverage if one.threshold >= measured.covered_from), None)
    if covered:
        console.print(f"covered at {covered.threshold:.2f}: precision {covered.precision:.2f}, recall {covered.recall:.2f}")
    if plot:
        console.print(f"drawn in {plot}")


def calibrate(
    file: Annotated[Path, _FILE],
    policies: Annotated[Path, _FOLDER],
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, for scripts.")] = False,
) -> None:
    """The threshold from which a question is covered."""
    measured = _measured(file, policies)
    best, current = best_threshold(measured.coverage), measured.covered_from
    if as_json:
        told = {"encoder": measured.encoder, "min_score": best.threshold, "current": current}
        print(json.dumps(told | {"curve": [asdict(one) for one in measured.coverage]}, indent=1))
        return
    console = Console()
    table = Table("threshold", "precision", "recall", "false alarms", "")
    for one in _thinned(measured.coverage, best):
        numbers = (one.threshold, one.precision, one.recall, one.false_alarms)
        table.add_row(*(f"{number:.3f}" for number in numbers), "best" if one == best else "")
    console.print(table)
    console.print(f"set CSQA_RETRIEVAL__MIN_SCORE={best.threshold:.3f} (now {current:g}, encoder {measured.encoder})")


def _measured(file: Path, policies: Path) -> Evaluation:
    settings = load_settings()
    questions = read_questions(file)
    folder = read_folder(policies)
    if folder.refused:
        name, why = next(iter(folder.refused.items()))
        raise PermanentError(f"{policies}: {folder.name_of(name)} cannot be read: {why}")

    def progress(asked: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{asked} asked", end="", file=sys.stderr, flush=True)

    async def measure() -> Evaluation:
        stages = await stages_over(folder.texts, load_encoder(settings.encoder), settings.retrieval, now())
        return await evaluate(stages, questions, progress)

    return asyncio.run(measure())


def _table(name: str, rows: dict[str, Quality]) -> Table:
    table = Table(name, "n", *(f"r@{k}" for k in AT), "MRR", "nDCG@10", title="recall at k" if name == "stage" else None)
    for key, quality in rows.items():
        shares = [quality.recall[k] for k in AT]
        table.add_row(escape(key), str(quality.questions), *(f"{share:.2f}" for share in (*shares, quality.mrr, quality.ndcg)))
    return table


def _thinned(coverage: tuple[Coverage, ...], best: Coverage) -> list[Coverage]:
    step = max(1, len(coverage) // 20)
    return [one for number, one in enumerate(coverage) if number % step == 0 or one == best]


def _draw(measured: Evaluation, target: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError("--plot needs the extra csqa-loop[reports]") from error
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for stage, quality in measured.stages.items():
        axes.plot(AT, [quality.recall[k] for k in AT], marker="o", label=stage)
    axes.set(xlabel="first k passages", ylabel="recall", ylim=(0, 1), xticks=AT)
    axes.legend()
    figure.savefig(target, format="svg")
