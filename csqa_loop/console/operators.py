"""What operators decide, and what was decided: `/v1/operator/...`, `/v1/audit` and `/v1/adapters`."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, StringConstraints

from csqa_loop.console.answers import Adapter, Adapters, Audit
from csqa_loop.console.parts import ConsoleParts
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import BASE, OperatorActed, now
from csqa_loop.http.health import Health
from csqa_loop.http.problems import Problem
from csqa_loop.rollout.history import adapter_records, audit_entries
from csqa_loop.rollout.outcomes import OrderOutcome, order_outcome
from csqa_loop.rollout.rules.orders import Order, OrderAction, OrderRefusedError, acted
from csqa_loop.rollout.rules.versions import AdapterRecord
from csqa_loop.rollout.state import loop_state
from csqa_loop.training.adapters import verify

_IN_LEDGER_SECONDS = 10.0
_BEFORE_DECISIONS = ("intake", "pairs", "republishing", "decisions")
_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class OrderBody(BaseModel):
    """Body of POST /v1/operator/{action}."""

    model_config = ConfigDict(extra="forbid")
    operator: _Name
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    target: Annotated[str, StringConstraints(max_length=200)] = ""
    override: bool = False


def operators_router(parts: ConsoleParts, caught_up: Callable[[], bool], health: Health) -> APIRouter:
    """POST /operator/{promote,rollback,pause,resume,stop}, GET /operator/orders/{event_id}, /audit and /adapters."""
    router = APIRouter()
    # The second of two orders is judged by the state that the first has left.
    deciding = asyncio.Lock()

    @router.post("/operator/{action}")
    async def act(action: OrderAction, body: OrderBody) -> OperatorActed:
        if not caught_up():
            # Records that the ledger has not taken yet may change what the order is about.
            raise Problem(503, detail="the ledger is still reading the log, and orders wait for that; ask again")
        async with deciding:
            try:
                event = await _ordered(parts, Order(action, body.operator, body.reason, body.target, body.override))
            except OrderRefusedError as error:
                raise Problem(409, detail=str(error), code="refused") from None
            await parts.bus.publish(event)
            if not await parts.ledger.wait_for(event.event_id, _IN_LEDGER_SECONDS):
                msg = f"the log has this order ({event.event_id}) and the ledger has not after {_IN_LEDGER_SECONDS:g} s; it will be carried out"
                raise TransientError(msg)
        return event

    @router.get("/operator/orders/{event_id}")
    async def show_outcome(event_id: UUID) -> OrderOutcome:
        outcome = await parts.ledger.ask(order_outcome, event_id)
        if outcome is None:
            raise Problem(404, "Unknown order", f"the ledger holds no order {event_id}")
        return replace(outcome, detail=_hindrance(parts, outcome.target, health())) if outcome.state == "open" else outcome

    @router.get("/audit")
    async def show_audit(limit: Annotated[int, Query(ge=1, le=5000)] = 100) -> Audit:
        return Audit(decisions=tuple(await parts.ledger.ask(audit_entries, limit)))

    @router.get("/adapters")
    async def list_adapters() -> Adapters:
        records, _ = await parts.ledger.ask(adapter_records)
        return Adapters(adapters=tuple(_adapter(record, parts.settings.adapters) for record in records))

    return router


async def _ordered(parts: ConsoleParts, order: Order) -> OperatorActed:
    state = await parts.ledger.ask(loop_state, now())
    records, champions = await parts.ledger.ask(adapter_records)
    event = acted(order, state, records, champions, event_id=uuid4(), now=now())
    if event.target not in {"", BASE}:
        try:
            await asyncio.to_thread(verify, parts.settings.adapters, event.target)
        except PermanentError as error:
            raise OrderRefusedError(str(error)) from None
    return event


def _hindrance(parts: ConsoleParts, target: str, health: dict[str, object]) -> str:
    """What keeps the loop from carrying out an order now."""
    troubles = health.get("troubles")
    if isinstance(troubles, dict) and (part := next(filter(troubles.get, _BEFORE_DECISIONS), None)):
        return f"{part}: {troubles[part]}"
    if target not in {"", BASE} and not parts.reconciler.holds_everywhere(target):
        return f"{target}: {parts.reconciler.obstacle(target).reason}"
    return "the loop is at a step before it"


def _adapter(record: AdapterRecord, adapters: Path) -> Adapter:
    trained, gate, experiment, verdict = record.trained, record.gate, record.experiment, record.verdict
    files = [file for file in (adapters / record.adapter).iterdir() if file.is_file()] if (adapters / record.adapter).is_dir() else None
    return Adapter(
        version=record.version,
        adapter=record.adapter,
        state=record.state,
        parent=trained.parent if trained else None,
        run_id=trained.run_id if trained else None,
        trained_at=trained.occurred_at.isoformat() if trained else None,
        pairs=trained.pairs if trained else None,
        gate=None if gate is None else "passed" if gate.passed else "refused",
        experiment=experiment.experiment_id if experiment else None,
        given_up=record.unservable.reason if record.unservable else None,
        verdict=verdict.verdict if verdict else "CONTINUE" if experiment else None,
        bytes=None if files is None else sum(file.stat().st_size for file in files),
    )
