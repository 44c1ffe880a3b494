"""The operator API: loopback by default, its own key, one JSON object a question."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from csqa_loop.console.agreement import disagreements
from csqa_loop.console.answers import LedgerCheck, LedgerHash, LedgerLosses, Recorded, RunStatus, Status, Takeover
from csqa_loop.console.bad_cases import bad_cases_router
from csqa_loop.console.letters import letters_router
from csqa_loop.console.metrics import metrics_router
from csqa_loop.console.operators import operators_router
from csqa_loop.console.page import page_router
from csqa_loop.console.pairs import pairs_router
from csqa_loop.console.parts import ConsoleParts
from csqa_loop.console.reviews import review_router
from csqa_loop.console.status import run_status, status
from csqa_loop.events import now
from csqa_loop.experiment.state import latest_experiment
from csqa_loop.experiment.status import ExperimentStatus, experiment_status
from csqa_loop.http import methods, problems
from csqa_loop.http.health import Health, add_health
from csqa_loop.http.keys import OPERATOR, holder
from csqa_loop.ledger import bookkeeping
from csqa_loop.ledger.backup import Backup
from csqa_loop.ledger.invariants import Finding, check, ledger_hash
from csqa_loop.ledger.losses import losses
from csqa_loop.rollout.state import loop_state
from csqa_loop.training.runs import latest_run

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Position(Protocol):
    """Where the ledger stands in the log."""

    @property
    def caught_up(self) -> bool:
        """Whether decisions are taken."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why the ledger may lack a part of the log."""
        ...

    async def committed(self) -> dict[tuple[str, int], int]:
        """Kafka's committed offsets."""
        ...


class CheckRequest(BaseModel):
    """Body of POST /v1/ledger/check."""

    model_config = ConfigDict(extra="forbid")
    accepted: list[str] | None = None


class BackupBody(BaseModel):
    """Body of POST /v1/ledger/backup: where, on the loop's machine."""

    model_config = ConfigDict(extra="forbid")
    folder: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class TakeoverBody(BaseModel):
    """Body of POST /v1/ledger/takeover."""

    model_config = ConfigDict(extra="forbid")
    operator: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class AcknowledgeRequest(BaseModel):
    """Body of POST /v1/ledger/losses/acknowledge."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=2000)


def create_console(parts: ConsoleParts, position: Position, health: Health, lifespan: Lifespan) -> FastAPI:
    """The app; the loop runs in its lifespan."""
    app = FastAPI(title="csqa console", lifespan=lifespan, docs_url=None, redoc_url=None)
    problems.install(app)
    methods.install(app)

    async def operator(authorization: Annotated[str, Header()] = "") -> None:
        refusal = problems.Problem(
            401, "Operator key needed", "send 'Authorization: Bearer KEY'; the key is in var/secrets.json or CSQA_OPERATOR_KEY"
        )
        holder(authorization, {OPERATOR: parts.secrets.operator_key}, refusal)

    async def opened(request: Request) -> None:
        if health().get("phase") in {"starting", "standby", "opening"}:
            raise problems.Problem(
                503, "Not the active loop", f"the ledger is not open here (phase {health().get('phase')}); ask again ({request.url.path})"
            )

    add_health(app, "loop", health, metrics=False)

    @app.post("/v1/ledger/takeover", dependencies=[Depends(operator)])
    async def take_over(body: TakeoverBody) -> Takeover:
        phase, trouble = health().get("phase"), str(health().get("trouble"))
        if phase != "refused":
            detail = f"only a loop that the log refuses can take over, and this one is in phase {phase}; ask the loop of the other ledger's folder"
            raise problems.Problem(409, detail=detail, code="refused")
        parts.authority.order(body.operator, body.reason)
        return Takeover(ledger_id=parts.authority.ledger_id, instead_of=trouble)

    router = APIRouter(prefix="/v1", dependencies=[Depends(operator), Depends(opened)])

    @router.get("/status")
    async def show_status() -> Status:
        return await status(parts, caught_up=position.caught_up)

    @router.post("/ledger/check")
    async def check_ledger(body: CheckRequest) -> LedgerCheck:
        committed = await position.committed()
        deployment = (await parts.ledger.ask(loop_state, now())).deployment
        serving = await disagreements(parts, deployment)
        findings = await parts.ledger.ask(
            check, accepted=body.accepted, committed=committed, serving=serving, champion=deployment.champion if deployment else None
        )
        findings.append(Finding("whole log", position.trouble is None, position.trouble or "every partition of every topic is read here"))
        findings.append(Finding("one ledger", *await parts.authority.standing()))
        return LedgerCheck(ok=all(finding.holds for finding in findings), findings=tuple(findings))

    @router.post("/ledger/backup")
    async def back_up(body: BackupBody) -> Backup:
        folder = Path(body.folder)
        if not folder.is_absolute():
            raise problems.Problem(
                422, detail=f"folder is {body.folder!r}; an absolute path on the loop's machine is expected", param="folder"
            )
        return await parts.backups.take(folder)

    @router.get("/ledger/hash")
    async def show_hash() -> LedgerHash:
        if parts.ledger.pairs_outstanding:
            raise problems.Problem(503, "Not derived yet", "pairs of what was taken while catching up are still being made; ask again")
        recorded = Recorded(**await parts.ledger.ask(bookkeeping.recorded_counts))
        return LedgerHash(hash=await parts.ledger.ask(ledger_hash), recorded=recorded)

    @router.get("/ledger/losses")
    async def show_losses() -> LedgerLosses:
        return LedgerLosses.of(await parts.ledger.ask(losses))

    @router.post("/ledger/losses/acknowledge")
    async def acknowledge_losses(body: AcknowledgeRequest) -> LedgerLosses:
        await parts.ledger.acknowledge_losses(body.reason)
        return await show_losses()

    @router.get("/runs/{run_id}")
    async def show_run(run_id: str) -> RunStatus:
        run = await parts.ledger.ask(latest_run, run_id)
        if run is None:
            raise problems.Problem(404, "Unknown run", f"no run {run_id!r} was ever requested")
        return run_status(run)

    @router.get("/experiments/{experiment_id}")
    async def show_experiment(experiment_id: str) -> ExperimentStatus:
        experiment = await parts.ledger.ask(latest_experiment, experiment_id)
        if experiment is None:
            raise problems.Problem(404, "Unknown experiment", f"no experiment {experiment_id!r} was ever opened")
        return await experiment_status(parts.examiner, experiment, settled=True)

    router.include_router(bad_cases_router(parts))
    router.include_router(pairs_router(parts))
    router.include_router(letters_router(parts))
    router.include_router(operators_router(parts, lambda: position.caught_up, health))
    app.include_router(router)
    app.include_router(metrics_router(parts, health), dependencies=[Depends(opened)])
    app.include_router(review_router(parts, lambda: position.caught_up), dependencies=[Depends(opened)])
    app.include_router(page_router())
    return app
