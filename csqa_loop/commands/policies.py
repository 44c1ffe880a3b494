"""`csqa policies`: what the shop says, kept in Markdown files."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csqa_loop import bootstrap
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import PolicyWithdrawn, now
from csqa_loop.events.topics import CHUNKS, POLICIES
from csqa_loop.events.wire import decode
from csqa_loop.knowledge.folder import PolicyFolder, counted, read_folder
from csqa_loop.knowledge.rules.current import KnowledgeState
from csqa_loop.knowledge.rules.publishing import SyncPlan, plan_sync, to_withdraw, withdrawal
from csqa_loop.log import KafkaBus, read_to_end
from csqa_loop.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Publish, withdraw and list policy documents (Markdown).")
_POLL_SECONDS = 0.2
_PUBLISH_TOGETHER = 16

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]
Wait = Annotated[
    float,
    typer.Option(
        min=0, metavar="SECONDS", help="Wait until the indexer has made every published version searchable; exit 1 if it has not."
    ),
]


@app.command()
def sync(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder with .md or .markdown files; sub-folders count. A file's path without its ending is its policy_id."
        ),
    ],
    withdraw_missing: Annotated[
        bool,
        typer.Option(
            "--withdraw-missing",
            help="Withdraw current policies that DIR has no file for, under any name. Without it they are only listed.",
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="With --withdraw-missing: also where that is more than half of them."),
    ] = False,
    language: Annotated[
        str, typer.Option(help="Language of documents whose front matter names none (en, zh, ...). Default: what their letters tell.")
    ] = "",
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Publish the Markdown files of DIR that are new or changed; the others are left alone.

    Gateways serve a change as soon as it is indexed, without a restart. Files that are empty, larger than 1 MiB or not UTF-8 are refused by
    name, and so are two files of one policy_id: the others are published all the same, and the exit code is 1. Files that are no Markdown
    are skipped and named. A policy whose text stands in DIR under another name, the same or nearly, is reported as renamed: both stay current
    until `csqa policies withdraw` ends the old one.
    """
    settings = load_settings()
    found = read_folder(folder)
    asyncio.run(_sync(settings, found, withdraw_missing=withdraw_missing, yes=yes, language=language, wait=wait, as_json=as_json))


@app.command()
def withdraw(
    policy_id: Annotated[str, typer.Argument(metavar="ID", help="As `csqa policies list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the log later.")],
) -> None:
    """Take a policy out of every answer at once; no indexer is needed for it."""
    event = asyncio.run(_withdraw(load_settings(), policy_id, reason))
    print(f"{event.policy_id} is withdrawn")


@app.command("list")
def show(as_json: AsJson = False) -> None:
    """Current policies with their version, and whether that version can be retrieved yet."""
    state = asyncio.run(read_state(load_settings()))
    rows = [
        {
            "policy_id": event.policy_id,
            "title": event.title,
            "version": event.version,
            "published_at": event.occurred_at.isoformat(),
            "indexed": state.is_indexed(event.policy_id, event.version),
        }
        for _, event in sorted(state.current.items())
    ]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    table = Table("policy_id", "title", "version", "published at", "indexed")
    for row in rows:
        table.add_row(
            *(escape(str(row[name])) for name in ("policy_id", "title", "version", "published_at")), "yes" if row["indexed"] else "not yet"
        )
    Console().print(table if rows else "No policies are published. Publish some with `csqa policies sync DIR`.")


async def read_state(settings: Settings) -> KnowledgeState:
    """What the log says now. Records that cannot be read are passed over, as every reader does."""
    state = KnowledgeState()
    async for record in read_to_end(settings.kafka_servers, settings.kafka, [POLICIES, CHUNKS]):
        try:
            state.take(decode(record.topic, record.value))
        except PermanentError:
            continue
    return state


@asynccontextmanager
async def _started_bus(settings: Settings) -> AsyncIterator[KafkaBus]:
    bus = bootstrap.build_bus(settings)
    try:
        await bus.start()
        await bus.ensure_topics()
        yield bus
    finally:
        await bus.stop()


async def _sync(
    settings: Settings,
    folder: PolicyFolder,
    *,
    withdraw_missing: bool,
    yes: bool,
    language: str,
    wait: float,
    as_json: bool,
) -> None:
    async with _started_bus(settings) as bus:
        state = await read_state(settings)
        plan = plan_sync(
            folder.texts,
            folder.refused,
            state.current,
            now=now(),
            skipped=folder.skipped_ids,
            language=language,
            default_language=settings.language,
        )
        withdrawn = to_withdraw(plan, state.current, confirmed=yes) if withdraw_missing else ()
        for start in range(0, len(plan.publish), _PUBLISH_TOGETHER):
            await bus.publish(*plan.publish[start : start + _PUBLISH_TOGETHER])
        if withdrawn:
            await bus.publish(*(withdrawal(key, "its file was removed", state.current, now=now()) for key in withdrawn))
    late = await _not_indexed(settings, plan, wait) if wait else []
    _report(plan, folder, withdrawn, late, waited=wait > 0, as_json=as_json)
    if late:
        raise TransientError(f"not indexed within {wait:g} s: {', '.join(late)}; is the indexer running (`csqa status`)?")
    if plan.refused:
        raise PermanentError(f"{len(plan.refused)} file(s) refused: {', '.join(folder.name_of(key) for key, _ in plan.refused)}")


async def _not_indexed(settings: Settings, plan: SyncPlan, wait: float) -> list[str]:
    wanted = sorted((*(event.policy_id for event in plan.publish), *plan.unchanged))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    while True:
        state = await read_state(settings)
        # A version that somebody else has replaced meanwhile is theirs to wait for.
        late = [key for key in wanted if key in state.current and not state.is_indexed(key, state.current[key].version)]
        if not late or loop.time() >= deadline:
            return late
        await asyncio.sleep(_POLL_SECONDS)


def _report(plan: SyncPlan, folder: PolicyFolder, withdrawn: tuple[str, ...], late: list[str], *, waited: bool, as_json: bool) -> None:
    missing = [key for key in plan.missing if key not in withdrawn]
    if as_json:
        report: dict[str, object] = {
            "published": [{"policy_id": event.policy_id, "version": event.version, "title": event.title} for event in plan.publish],
            "unchanged": list(plan.unchanged),
            "missing": missing,
            "withdrawn": list(withdrawn),
            "refused": [{"policy_id": key, "reason": reason} for key, reason in plan.refused],
            "renamed": [{"policy_id": old, "now": new} for old, new in plan.renamed],
            "skipped": [{"file": name, "reason": reason} for name, reason in folder.skipped.items()],
        }
        if waited:
            report["not_indexed"] = late
        print(json.dumps(report, ensure_ascii=False, indent=2))
        return
    now_called = dict(plan.renamed)
    table = Table("policy", "what happened", "")
    for event in plan.publish:
        table.add_row(escape(event.policy_id), "[green]published[/green]", escape(f"{event.title} ({event.version})"))
    for key in withdrawn:
        table.add_row(escape(key), "[yellow]withdrawn[/yellow]", "its file was removed")
    for key in missing:
        if key in now_called:
            told = f"to {now_called[key]}, it seems; both are current. End the old one with: csqa policies withdraw {shlex.quote(key)} --reason renamed"
            table.add_row(escape(key), "[yellow]renamed[/yellow]", escape(told))
        else:
            table.add_row(escape(key), "[yellow]missing[/yellow]", "still current; --withdraw-missing withdraws it")
    for key, reason in plan.refused:
        table.add_row(escape(key), "[red]refused[/red]", escape(reason))
    console = Console()
    if table.rows:
        console.print(table)
    if folder.skipped:
        console.print(escape(f"skipped, no Markdown: {counted(folder.skipped)} ({', '.join(folder.skipped)})"))
    console.print(
        f"{len(plan.publish)} published, {len(plan.unchanged)} unchanged, {len(withdrawn)} withdrawn, {len(plan.refused)} refused"
    )


async def _withdraw(settings: Settings, policy_id: str, reason: str) -> PolicyWithdrawn:
    async with _started_bus(settings) as bus:
        state = await read_state(settings)
        event = withdrawal(policy_id, reason, state.current, now=now())
        await bus.publish(event)
    return event
