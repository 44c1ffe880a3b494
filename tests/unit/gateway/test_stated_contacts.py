"""Comments and corrections keep what a current policy states, and nothing that somebody only claims a policy states."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from csqa_loop.events import BadCaseReported, FeedbackGiven
from csqa_loop.gateway.app import create_app
from csqa_loop.ledger.rules.masking import masked_event
from tests.fakes.gateway import SECRETS, World
from tests.gateway_client import asked

OPERATOR = {"Authorization": f"Bearer {SECRETS.operator_key}"}
SAID = "Call the returns desk on 0171/1234567 or write to jo.b@harbour.example, not to li.wei@mail.example."
MASKED = SAID.replace("li.wei@mail.example", "[email]")


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path).with_shop()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(world.parts)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        assert world.parts._starting is not None
        await asyncio.wait_for(asyncio.shield(world.parts._starting), 5)
        world.know("desk", "The returns desk answers at jo.b@harbour.example and 0171/1234567.")
        yield client


async def test_a_correction_and_a_comment_keep_what_a_policy_states(client: httpx.AsyncClient, world: World) -> None:
    told = (await asked(client))["csqa"]
    correction = {"message_id": told["message_id"], "reason": "wrong", "corrected_answer": SAID, "reviewer": "alex"}
    comment = {"message_id": told["message_id"], "token": told["feedback_token"], "thumb": "down", "comment": SAID}
    assert (await client.post("/v1/bad-cases", json=correction, headers=OPERATOR)).status_code == 202
    assert (await client.post("/v1/feedback", json=comment)).status_code == 202
    case, thumb = world.bus.of_type(BadCaseReported)[0], world.bus.of_type(FeedbackGiven)[0]
    assert (case.corrected_answer, thumb.comment) == (MASKED, MASKED)
    # The intake knows no policies, and takes both as they are.
    assert masked_event(SECRETS.secret, case) == case
    assert masked_event(SECRETS.secret, thumb) == thumb


async def test_without_the_right_proof_nothing_stays(client: httpx.AsyncClient, world: World) -> None:
    told = (await asked(client))["csqa"]
    body = {"message_id": told["message_id"], "reason": "wrong", "corrected_answer": SAID, "reviewer": "alex"}
    await client.post("/v1/bad-cases", json=body, headers=OPERATOR)
    case = world.bus.of_type(BadCaseReported)[0]
    forged = (
        {"stated_proof": ""},
        {"stated_proof": "0" * 32},
        {"stated_proof": "é"},
        {"stated": (*case.stated, "li.wei@mail.example")},
        {"message_id": "of-another.message"},
    )
    for change in forged:
        event = masked_event(SECRETS.secret, case.model_copy(update={"corrected_answer": SAID} | change))
        assert isinstance(event, BadCaseReported)
        assert event.corrected_answer == "Call the returns desk on [phone] or write to [email], not to [email]."
