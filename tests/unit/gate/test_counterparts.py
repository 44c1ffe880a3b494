"""Two model servers as one."""

import pytest

from csqa_loop.errors import TransientError
from csqa_loop.events import BASE, ChatMessage, Sampling
from csqa_loop.gate.counterparts import Counterparts
from tests.fakes.model_server import FakeModelServer

ADAPTER = "a-" + "1" * 16
HELLO = (ChatMessage(role="user", content="hello"),)
GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=9)


def _both(served_as: str = BASE) -> tuple[Counterparts, FakeModelServer, FakeModelServer]:
    usual, candidate = FakeModelServer(("http://usual",)), FakeModelServer(("http://export",), answer=lambda name, _: f"export {name}")
    return Counterparts(usual, candidate, "the export", served_as), usual, candidate


async def test_the_candidate_answers_under_its_own_name_and_everyone_else_as_usual() -> None:
    both, usual, candidate = _both()
    said = await both.generate("the export", HELLO, GREEDY, fallback="the export")
    assert (said.text, said.adapter) == ("export base", "the export")
    other = await both.generate(BASE, HELLO, GREEDY, fallback=BASE)
    assert (other.text, other.adapter) == ("base says: hello", BASE)
    assert len(usual.asked) == len(candidate.asked) == 1


async def test_a_base_that_answers_for_the_candidate_is_seen() -> None:
    both, _, _ = _both(served_as=ADAPTER)
    assert (await both.generate("the export", HELLO, GREEDY, fallback="the export")).adapter == BASE


async def test_scores_come_from_the_side_that_is_asked() -> None:
    both, usual, _ = _both()
    usual.down = True
    assert (await both.score("the export", HELLO, "export"))[0] > (await both.score("the export", HELLO, "other"))[0]
    with pytest.raises(TransientError):
        await both.score(BASE, HELLO, "export")
