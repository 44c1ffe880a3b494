"""A proposer of better answers on a real ledger, with log, model server and judge in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from csqa_loop import events as e
from csqa_loop.errors import TransientError
from csqa_loop.events import AnswerProposed, ChatMessage
from csqa_loop.evidence.judge.contest import Contest
from csqa_loop.evidence.judge.proposer import AnswerProposer
from csqa_loop.evidence.judge.rules.judging import Candidate, PositionBias
from csqa_loop.evidence.judge.rules.prompts import JudgePrompt
from csqa_loop.evidence.rules.pairs import held_out
from csqa_loop.settings import AnswerSettings, JudgeSettings
from tests import events as make
from tests.boards import Board
from tests.fakes.judge import FakeJudge, by_merit
from tests.fakes.model_server import FakeModelServer
from tests.run_directories import NOW

CHAMPION = "a-" + "1" * 16
SECTION = next(name for name in map(str, range(100)) if not held_out("returns", name))
REPLICA = "http://fake-vllm"
BAD, GOOD, BEST = "You have 30 days.", "You have 14 days.", "You have 14 days, unused and in the original box."
SYSTEM = "Electronics can be returned within 14 days, unused and in the original box."


def case(number: int = 1) -> Candidate:
    question = f"How long may I return laptop {number}?"
    messages = (ChatMessage(role="system", content=SYSTEM), ChatMessage(role="user", content=question))
    return Candidate(f"c{number}", f"m{number}", question, messages, BAD, "a-" + "2" * 16)


def complained(asked: Candidate, second: float) -> tuple[e.Event, e.Event]:
    """The facts that make the case: an answer of the model and a complaint about it, without a better one."""
    number = int(asked.message_id[1:])
    fields = {"question": asked.question, "messages": asked.messages, "answer": asked.answer, "adapter": asked.adapter}
    return make.answer(number, section=SECTION, **fields), make.bad_case(number, None, second=second)


def merit(answer: str) -> float:
    return {BAD: 0, GOOD: 2, BEST: 3}.get(answer, 1)


class Says:
    """A champion that says these in turn, each time it is asked about one case."""

    def __init__(self, *answers: str) -> None:
        self._answers = answers
        self._asked: dict[str, int] = {}

    def __call__(self, adapter: str, messages: Sequence[ChatMessage]) -> str:
        turn = self._asked.get(messages[-1].content, 0)
        self._asked[messages[-1].content] = turn + 1
        return self._answers[turn % len(self._answers)]


KNOWN = PositionBias((("", "agreed"),) * 20)


@dataclass
class Desk:
    """A proposer, and a ledger that holds the cases and takes what the bus got."""

    cases: list[Candidate] = field(default_factory=lambda: [case()])
    says: Says = field(default_factory=lambda: Says(BAD, GOOD, BEST))
    judge: FakeJudge = field(default_factory=lambda: FakeJudge(by_merit(merit)))
    settings: JudgeSettings = field(default_factory=lambda: JudgeSettings(url="http://judge", model="j"))
    answering: AnswerSettings = field(default_factory=AnswerSettings)
    prompt: JudgePrompt = field(default_factory=JudgePrompt)
    champion: str = CHAMPION
    known: bool = True
    """Whether the judge has shown before that it reads."""
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.ledger = Board()
        self.bus = self.ledger.bus
        self.ledger.hold(*(event for second, asked in enumerate(self.cases) for event in complained(asked, second)))
        self.server = FakeModelServer(answer=self.says)
        self.server.held[REPLICA].add(CHAMPION)
        contest = Contest(self.server, self.judge, judging=self.settings, answering=self.answering, prompt=self.prompt)
        if self.known:
            contest.bias = KNOWN
        self.proposer = AnswerProposer(self.ledger, contest, self.bus, self.settings, lambda: self.now, self._serving, b"secret")

    async def _serving(self) -> str:
        return self.champion

    @property
    def proposals(self) -> list[AnswerProposed]:
        return self.bus.of_type(AnswerProposed)

    async def beats(self, count: int) -> list[str]:
        """The errors of so many beats, one after another, without waiting for pauses."""
        errors = []
        for _ in range(count):
            try:
                await self.proposer.beat()
            except TransientError as error:
                errors.append(str(error))
        return errors
