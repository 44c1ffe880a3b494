"""Dead letters: `/v1/letters`."""

import base64
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, StringConstraints

from csqa_loop.console.answers import Letters, WholeLetter
from csqa_loop.console.parts import ConsoleParts
from csqa_loop.errors import TransientError
from csqa_loop.events import LetterHandled, now
from csqa_loop.http.problems import Problem
from csqa_loop.ledger.letters import LetterState, ListedLetter, letter_in_full, letters
from csqa_loop.ledger.rules.batch import value_sha
from csqa_loop.log.reader import read_one
from csqa_loop.log.records import LogRecord

_IN_LEDGER_SECONDS = 10.0


class HandlingBody(BaseModel):
    """Body of POST /v1/letters/{letter_id}/{action}."""

    model_config = ConfigDict(extra="forbid")
    operator: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


def letters_router(parts: ConsoleParts) -> APIRouter:
    """GET /letters, GET /letters/{letter_id}, POST /letters/{letter_id}/{retry,drop}."""
    router = APIRouter(prefix="/letters")

    @router.get("")
    async def list_letters(
        state: LetterState | None = None, topic: str | None = None, limit: Annotated[int, Query(ge=1, le=5000)] = 100
    ) -> Letters:
        return Letters(letters=tuple(await parts.ledger.ask(letters, state=state, topic=topic, limit=limit)))

    @router.get("/{letter_id}")
    async def show_letter(letter_id: str) -> WholeLetter:
        listed, record = await _found(parts, letter_id)
        return WholeLetter(letter=listed, key_base64=_base64(record.key), value_base64=_base64(record.value))

    @router.post("/{letter_id}/{action}")
    async def handle(letter_id: str, action: Literal["retry", "drop"], body: HandlingBody) -> LetterHandled:
        listed, record = await _found(parts, letter_id)
        if listed.state == "taken":
            raise Problem(
                409, detail=f"letter {listed.letter_id[:12]} was taken when it came again; there is nothing to do", code="refused"
            )
        if action == "retry":
            if record.value is None:
                detail = f"letter {listed.letter_id[:12]} has no value, and in a compacted topic such a record deletes; drop it"
                raise Problem(409, detail=detail, code="refused")
            # Before the fact: a crash in between leaves a retry that nobody knows of, which is harmless, and never one that was not made.
            await parts.bus.send(record.topic, *await _whole(parts, listed, record))
        event = LetterHandled(
            occurred_at=now(), letter_id=listed.letter_id, action=action, operator=body.operator, reason=body.reason
        )  # fmt: skip
        await parts.bus.publish(event)
        if not await parts.ledger.wait_for(event.event_id, _IN_LEDGER_SECONDS):
            raise TransientError(
                f"the log has this ({event.event_id}) and the ledger has not after {_IN_LEDGER_SECONDS:g} s; it counts all the same"
            )
        return event

    return router


async def _found(parts: ConsoleParts, letter_id: str) -> tuple[ListedLetter, LogRecord]:
    found = await parts.ledger.ask(letter_in_full, letter_id)
    if found is None:
        raise Problem(404, "Unknown letter", f"{letter_id!r} begins the id of no letter, or of several; `csqa letters list` shows them")
    return found


async def _whole(parts: ConsoleParts, listed: ListedLetter, record: LogRecord) -> tuple[bytes | None, bytes]:
    """Key and value, to the byte: of a large record from its place in the log."""
    found: LogRecord | None = record
    if listed.cut:
        found = await read_one(parts.settings.kafka_servers, parts.settings.kafka, *record[:3])
    if found is None or found.value is None or value_sha(found.value) != listed.sha256:
        detail = f"letter {listed.letter_id[:12]} was too large to be kept, and {record.topic}[{record.partition}] holds it at {record.offset} no more"
        raise Problem(409, detail=detail, code="refused")
    return found.key, found.value


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
