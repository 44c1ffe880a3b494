"""What a contest compares is as it will lie in the ledger."""

from dataclasses import replace

from csqa_loop.events import ChatMessage
from csqa_loop.evidence.judge.contest import Contest
from csqa_loop.settings import AnswerSettings, JudgeSettings
from csqa_loop.text.masking import NOTHING, Known
from tests.desk import CHAMPION, REPLICA, Says, case
from tests.fakes.judge import FakeJudge, by_merit
from tests.fakes.model_server import FakeModelServer

DESK = "Write to jo.b@harbour.example within 14 days, unused."


async def said(*answers: str, own: Known = NOTHING) -> str | None:
    server = FakeModelServer(answer=Says(*answers))
    server.held[REPLICA].add(CHAMPION)
    contest = Contest(
        server, FakeJudge(by_merit(len)), judging=JudgeSettings(url="http://judge", model="j"), answering=AnswerSettings(), own=own
    )
    asked = replace(case(), messages=(ChatMessage(role="system", content=f"Returns. {DESK}"), case().messages[-1]), answer="No.")
    winner = await contest.winner(asked, CHAMPION)
    return winner and winner.text


async def test_a_contact_that_the_excerpts_or_the_settings_state_stays() -> None:
    assert await said(DESK, "Within 14 days.") == DESK
    assert await said("Ask ann.lee@harbour.example within 14 days.", own=Known.of(["harbour.example"])) is not None


async def test_an_answer_with_a_persons_address_is_not_proposed() -> None:
    assert await said("Ask li.wei@mail.example within 14 days.", "Within 14 days.") == "Within 14 days."
