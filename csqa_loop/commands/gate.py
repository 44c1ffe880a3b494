"""`csqa gate`: what merging and quantising cost, before an export answers customers."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csqa_loop import bootstrap
from csqa_loop.answering.model.server import ModelServer
from csqa_loop.errors import CsqaError, PermanentError, TransientError
from csqa_loop.events import BASE, GateCheck
from csqa_loop.gate.counterparts import Counterparts
from csqa_loop.gate.evaluate import AskedQuestion, evaluate
from csqa_loop.gate.rules.checks import verdict
from csqa_loop.settings import GateSettings, Settings, load_settings
from csqa_loop.training.exports import Export, read_export
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.rows import PairRow

_REFUSED, _NO_VERDICT = 1, 2


@dataclass(frozen=True)
class _Contest:
    export: Export
    url: str
    champion: str
    holdout: Sequence[PairRow]
    questions: Sequence[AskedQuestion]
    settings: GateSettings
    max_tokens: int

    @property
    def served_as(self) -> str:
        """The name under which the export's server serves it."""
        return BASE if self.export.whole_model else self.export.manifest.adapter


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("gate")(gate)


def gate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What `csqa adapters export` wrote.")],
    url: Annotated[
        str, typer.Option(metavar="URL", help="A vLLM that serves DIR, such as http://127.0.0.1:8010; docs/training.md starts one.")
    ],
    champion: Annotated[str, typer.Option(metavar="ADAPTER|base", help="What to hold it against. Default: the exported adapter.")] = "",
    run: Annotated[str, typer.Option(metavar="RUN_ID", help="Whose held-out pairs to ask. Default: the adapter's run.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")] = False,
) -> None:
    """Hold an export against an adapter that is served now, by the offline gate and its run's held-out pairs and regression questions.

    Exit code 0: it passes; 1: it is worse by more than a margin; 2: no verdict, with the reason.

    Example: csqa gate /srv/models/shop --url http://127.0.0.1:8010
    """
    started = time.monotonic()
    try:
        settings = load_settings()
        contest = _contest(settings, directory, url, champion, run)
        checks = asyncio.run(_checks(settings, contest))
    except CsqaError as error:
        # 1 would say that the export was compared and refused.
        print(f"csqa: {error}", file=sys.stderr)
        raise typer.Exit(_NO_VERDICT) from error
    passed = verdict(checks)
    if as_json:
        body = {
            "path": str(directory.resolve()),
            "adapter": contest.export.manifest.adapter,
            "champion": contest.champion,
            "passed": passed,
            "checks": [check.model_dump(mode="json") for check in checks],
            "seconds": round(time.monotonic() - started, 3),
        }
        print(json.dumps(body, ensure_ascii=False))
    else:
        Console().print(_table(checks))
        print(f"{directory} {'passes' if passed else 'does not pass'} against {contest.champion}")
    if not passed:
        raise typer.Exit(_REFUSED)


def _contest(settings: Settings, directory: Path, url: str, champion: str, run_id: str) -> _Contest:
    """Everything that is read before a model is asked.

    Raises:
        PermanentError: the folder is no export, or the run is not whole or has nothing to ask.
    """
    from jobs.evaluate_adapter import suite_of

    export = read_export(directory)
    adapter = export.manifest.adapter
    run = RunDirectory.of(settings.runs, run_id or export.manifest.run_id)
    _, config = run.check()
    holdout = run.holdout()
    questions = suite_of(config).questions
    if not (holdout or questions):
        msg = f"{run.path} has no held-out pairs and no gate.regression_file, so nothing can be asked; name another run with --run"
        raise PermanentError(msg)
    # The same adapter in another form can only be as good.
    gate_settings = config.gate.model_copy(update={"enabled": True, "require_superiority": False})
    return _Contest(export, url.rstrip("/"), champion or adapter, holdout, questions, gate_settings, config.answer_tokens)


async def _checks(settings: Settings, contest: _Contest) -> tuple[GateCheck, ...]:
    from jobs.evaluate_adapter import checks_of_answers

    usual = bootstrap.build_model_server(settings)
    candidate = bootstrap.build_model_server_at((contest.url,), settings.adapters)
    # A name of its own: the champion may be the same adapter.
    name = f"the export of {contest.export.manifest.adapter}"
    servers = (usual, candidate)
    try:
        for server in servers:
            await server.start()
        await _require(usual, settings.model_server_urls, contest.champion)
        await _require(candidate, (contest.url,), contest.served_as)
        findings = await evaluate(
            Counterparts(usual, candidate, name, contest.served_as),
            champion=contest.champion,
            candidate=name,
            holdout=contest.holdout,
            questions=contest.questions,
            settings=contest.settings,
            max_tokens=contest.max_tokens,
        )
    finally:
        for server in servers:
            await server.stop()
    return (*findings.checks, *await checks_of_answers(findings, settings))


async def _require(server: ModelServer, urls: Sequence[str], name: str) -> None:
    """Some replica serves `name`, and the base as `base`: answers are split into tokens under that name.

    Raises:
        TransientError: none does; says what each one serves.
    """
    resident = await server.resident()
    needed = {BASE, name}
    if any(needed <= names for names in resident.values()):
        return
    by_url = {url.rstrip("/"): names for url, names in resident.items()}
    serving = "; ".join(
        f"{url} serves {', '.join(sorted(by_url[url.rstrip('/')]))}" if url.rstrip("/") in by_url else f"{url} does not answer"
        for url in urls
    )
    raise TransientError(f"no model server serves {' and '.join(sorted(needed))}: {serving}; docs/training.md has the command line")


def _table(checks: Sequence[GateCheck]) -> Table:
    table = Table("check", "passed", "champion", "export", "margin", "n", "detail")
    for check in checks:
        values = ("" if value is None else f"{value:.4g}" for value in (check.champion, check.candidate, check.margin))
        table.add_row(escape(check.name), "yes" if check.passed else "[red]no[/red]", *values, str(check.n or ""), escape(check.detail))
    return table
