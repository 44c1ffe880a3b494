"""`csqa why` and `csqa rebuild`: what an adapter is made of, and whether it can be made again."""

import json
import subprocess
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from csqa_loop.commands.console_client import ask_console, json_of
from csqa_loop.commands.pair_tree import pair_tree
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.evidence.pair_trace import PairTrace
from csqa_loop.settings import Settings, load_settings
from csqa_loop.training.pedigree import Ancestor, RecipeComparison, compare, copy_for_rebuild, lineage
from csqa_loop.training.run.manifest import Manifest, PairSource

Adapter = Annotated[str, typer.Argument(metavar="ADAPTER", help="As `csqa status` shows it: a- and 16 hex digits.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(why)
    app.command()(rebuild)


def why(
    adapter: Adapter,
    pairs: Annotated[
        int, typer.Option(min=0, metavar="N", help="Tell the history of the first N pairs; the others by their events' ids.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Walk back from an adapter: its run, its parents, its pairs, and the events that each pair comes from.

    Where a loop answers, each pair's history is told in full; without one, what the manifest says.

    Example: csqa why a-0123456789abcdef --pairs 3
    """
    settings = load_settings()
    ancestors = lineage(settings.runs, adapter)
    traces, missing = _traces(settings, ancestors[0].manifest, pairs)
    if as_json:
        print(json_of(_report(ancestors, traces), indent=2))
        return
    Console().print(_tree(ancestors, traces, missing))


def rebuild(
    adapter: Adapter,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of a metric, as a part of its value. Other processors round otherwise.")
    ] = 0.01,
    as_json: AsJson = False,
) -> None:
    """Train an adapter again from its run directory and compare: recipe, data and base must be the same, metrics within the tolerance.

    It works in var/rebuilds and takes as long as the first training. Exit code 1 where something differs.

    Example: csqa rebuild a-0123456789abcdef
    """
    settings = load_settings()
    first = lineage(settings.runs, adapter)[0]
    again = copy_for_rebuild(first.run, settings.var / "rebuilds" / adapter)
    # A process of its own, as the trainer runs it: it takes the memory with it.
    ended = subprocess.run((sys.executable, "-m", "jobs.train_adapter", str(again.path)), stdout=subprocess.DEVNULL, check=False)
    if ended.returncode:
        raise PermanentError(f"the training of {again.path} ended with exit code {ended.returncode}; its reason stands above")
    compared = compare(first.run, again, tolerance)
    manifest = again.manifest()
    name = manifest.adapter if manifest else ""
    if as_json:
        rows = [
            {"name": comparison.name, "first": comparison.first, "rebuilt": comparison.rebuilt, "same": comparison.same}
            for comparison in compared
        ]
        print(json.dumps({"adapter": adapter, "rebuilt": name, "identical": name == adapter, "compared": rows}, indent=2))
    else:
        Console().print(_table(compared))
        print(f"{adapter} was made again as {name}: " + ("the same bytes" if name == adapter else "other bytes"))
    differing = [comparison.name for comparison in compared if not comparison.same]
    if differing:
        raise PermanentError(f"the rebuilt adapter differs in {', '.join(differing)}; {first.run.path} and {again.path} hold both")


def _traces(settings: Settings, manifest: Manifest, most: int) -> tuple[dict[str, PairTrace], str]:
    """Pair -> its history; and the reason where no loop gives any."""
    traces: dict[str, PairTrace] = {}
    for source in (*manifest.pairs, *manifest.replay)[:most]:
        try:
            traces[source.pair_id] = ask_console(settings, f"/v1/pairs/{source.pair_id}", PairTrace)
        except TransientError as error:
            return {}, str(error)
        except PermanentError:
            continue  # a ledger that does not know the pair: the manifest still names its events
    return traces, ""


def _report(ancestors: list[Ancestor], traces: dict[str, PairTrace]) -> dict[str, Any]:
    manifest = ancestors[0].manifest
    examples = [
        source.model_dump(mode="json") | {"replayed": replayed, "trace": traces.get(source.pair_id)}
        for replayed, sources in ((False, manifest.pairs), (True, manifest.replay))
        for source in sources
    ]
    return {
        "adapter": manifest.adapter,
        "lineage": [ancestor.manifest.model_dump(mode="json", exclude={"pairs", "replay"}) for ancestor in ancestors],
        "pairs": examples,
    }


def _tree(ancestors: list[Ancestor], traces: dict[str, PairTrace], missing: str) -> Tree:
    manifest = ancestors[0].manifest
    tree = Tree(f"[bold]{manifest.adapter}[/bold]")
    for ancestor in ancestors:
        own = ancestor.manifest
        place = tree.add(f"[bold]{own.adapter}[/bold]  run {escape(own.run_id)}: {escape(own.method)} ({escape(own.reason)}), {own.mode}")
        place.add(f"parent {own.parent}, base {escape(own.base)} [dim]{own.base_fingerprint[:16]}[/dim]")
        place.add(f"recipe {own.recipe_hash}, data {own.data_hash}, code {own.code_version}, seed {own.seed}")
        place.add(", ".join(f"{name} {value:.4g}" for name, value in own.metrics.items()))
    for title, sources in (("new", manifest.pairs), ("repeated", manifest.replay)):
        if sources:
            branch = tree.add(f"[bold]{len(sources)} {title}[/bold]")
            for source in sources:
                branch.add(pair_tree(traces[source.pair_id]) if source.pair_id in traces else _named(source))
    if missing:
        tree.add(f"[dim]from the manifest alone: {escape(missing)}[/dim]")
    return tree


def _named(source: PairSource) -> str:
    where = f"{source.pair_id}  {source.source or 'unknown source'}, weight {source.weight:g}"
    events = f"answer {source.answer_event_id or '-'}, better {source.evidence_event_id or '-'}"
    return f"{escape(where)}  [dim]{escape(events)}[/dim]"


def _table(compared: list[RecipeComparison]) -> Table:
    table = Table("", "first", "rebuilt", "same")
    for comparison in compared:
        table.add_row(comparison.name, comparison.first, comparison.rebuilt, "yes" if comparison.same else "[red]no[/red]")
    return table
