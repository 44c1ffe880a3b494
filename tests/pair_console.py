"""The console's routes about pairs and bad cases, on a real ledger that holds given events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import FastAPI

from csqa_loop import events as e
from csqa_loop.console.bad_cases import bad_cases_router
from csqa_loop.console.pairs import pairs_router
from csqa_loop.evidence.rules.pairs import PairPolicy, held_out
from csqa_loop.http import problems
from csqa_loop.ledger.service import LedgerService
from csqa_loop.settings import Settings
from tests import events as make
from tests.ledgers import ledger_at

BOOTS = (
    "---\ncategory: returns and refunds\n---\n# Returns\n\n## Footwear\n\nBoots may be returned within 45 days if the soles are clean.\n"
)
QUESTION = "How long may I return boots?"
GOOD = "Boots may be returned within 45 days."
ADAPTER = "a-0123456789abcdef"
SECTION = "Returns > Footwear"
assert not held_out("returns", SECTION)
HELD_OUT = next(name for name in map(str, range(100)) if held_out("returns", name))


def asked(number: int, question: str = QUESTION, *, section: str = SECTION, **fields: Any) -> e.AnswerGiven:
    """An answer whose prompt held the policy."""
    quote = e.Citation(chunk_id="returns#0", policy_id="returns", version=make.policy(BOOTS).version, section=section, score=0.9)
    messages = (e.ChatMessage(role="system", content=f"Policy:\n\n{BOOTS}"), e.ChatMessage(role="user", content=question))
    return make.answer(number, **{"question": question, "messages": messages, "citations": (quote,), **fields})


def example(number: int, **fields: Any) -> e.ExampleImported:
    return e.ExampleImported(
        event_id=make.event_id(70_000 + number), occurred_at=make.at(20), conversation_id=f"i-{number:016x}", answer="Yes, every oar.",
        messages=(e.ChatMessage(role="user", content="Do you mend oars?"),), category="repairs", origin="old.csv 0123456789ab 7", operator="opal",
        **fields,
    )  # fmt: skip


@asynccontextmanager
async def console(tmp_path: Path, *events: e.Event, policy: PairPolicy | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """The routers over a ledger that holds these events."""
    service = LedgerService(ledger_at(tmp_path / "ledger" / "ledger.duckdb", policy))
    await service.wait_for_lock()
    await service.open()
    await service.take(make.batch(make.policy(BOOTS), *events))
    parts: Any = SimpleNamespace(ledger=service, settings=Settings())
    app = FastAPI()
    problems.install(app)
    app.include_router(pairs_router(parts), prefix="/v1")
    app.include_router(bad_cases_router(parts), prefix="/v1")
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as client:
            yield client
    finally:
        await service.close()


async def get(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    answer = await client.get(f"/v1{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def corrected(number: int, *, second: float = 2, **fields: Any) -> list[e.Event]:
    return [asked(number, **fields), make.bad_case(number, GOOD, second=second)]


def requested(*pair_ids: str) -> e.TrainingRequested:
    return e.TrainingRequested(
        occurred_at=make.at(50), run_id="r1", attempt=1, reason="enough pairs", champion="base", pair_ids=pair_ids, data_hash="h"
    )
