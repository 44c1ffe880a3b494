"""Contacts that the policy states are no secret; the customer's are."""

import asyncio
from pathlib import Path

from csqa_loop.answering.question import Question
from csqa_loop.events import ChatMessage, Sampling
from csqa_loop.ledger.rules.masking import masked_event
from tests.fakes.gateway import SECRETS, World


async def test_a_contact_of_the_policy_stays_and_the_customers_goes(tmp_path: Path) -> None:
    world = World(tmp_path).with_shop()
    await world.parts.start()
    try:
        assert world.parts._starting is not None
        await asyncio.wait_for(asyncio.shield(world.parts._starting), 5)
        world.know("desk", "The returns desk answers at jo.b@harbour.example and 0171/1234567.")
        asked = "Is the returns desk at jo.b@harbour.example and 0171/1234567? I am li.wei@mail.example."
        question = Question(
            messages=(ChatMessage(role="user", content=asked),), sampling=Sampling(temperature=0.0, top_p=1.0, max_tokens=50)
        )
        fact = (await world.parts.answerer.answer(question)).event
    finally:
        await world.parts.stop()
    assert "jo.b@harbour.example" in fact.messages[0].content
    assert fact.question == fact.messages[-1].content == asked.replace("li.wei@mail.example", "[email]")
    assert masked_event(SECRETS.secret, fact) == fact
