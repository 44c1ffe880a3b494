"""A gateway that has not read the policies yet cannot tell whose contact a correction names, and loses none."""

import asyncio
from pathlib import Path

import httpx

from csqa_loop.events import BadCaseReported
from csqa_loop.gateway.app import create_app
from csqa_loop.text.identity import new_message_id
from tests.fakes.gateway import SECRETS, World
from tests.gateway_client import refused

OPERATOR = {"Authorization": f"Bearer {SECRETS.operator_key}"}


async def test_only_what_needs_the_policies_waits_for_them(tmp_path: Path) -> None:
    world = World(tmp_path).with_shop()
    world.know("desk", "The returns desk answers at 0171/1234567.")
    body = {"message_id": new_message_id(SECRETS.secret, "talk-1"), "reason": "wrong", "reviewer": "alex"}
    app = create_app(world.parts)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        assert world.parts._starting is not None
        await asyncio.wait_for(asyncio.shield(world.parts._starting), 5)

        async def report(correction: str | None) -> httpx.Response:
            return await client.post("/v1/bad-cases", json=body | {"corrected_answer": correction}, headers=OPERATOR)

        world.parts._caught_up = False
        refused(await report("Call 0171 1234567."), 503)
        assert world.bus.events == []
        assert [(await report(text)).status_code for text in ("Within 14 days.", None)] == [202, 202]
        world.parts._caught_up = True
        assert (await report("Call 0171 1234567.")).status_code == 202
    assert world.bus.of_type(BadCaseReported)[-1].corrected_answer == "Call 0171 1234567."
