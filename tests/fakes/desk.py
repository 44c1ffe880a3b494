"""A proposer of better answers with everything around it in memory."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from csqa_loop.errors import TransientError
from csqa_loop.events import AnswerProposed, ChatMessage, DeploymentChanged
from csqa_loop.evidence.judge.contest import Contest
from csqa_loop.evidence.judge.proposer import AnswerProposer
from csqa_loop.evidence.judge.rules.judging import Candidate, PositionBias
from csqa_loop.evidence.judge.rules.prompts import JudgePrompt
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.settings import AnswerSettings, JudgeSettings
from tests.fakes.bus import MemoryBus
from tests.fakes.judge import FakeJudge, by_merit
from tests.fakes.model_server import FakeModelServer
from tests.run_directories import NOW

CHAMPION = "a-" + "1" * 16
REPLICA = "http://fake-vllm"
BAD, GOOD, BEST = "You have 30 days.", "You have 14 days.", "You have 14 days, unused and in the original box."
SYSTEM = "Electronics can be returned within 14 days, unused and in the original box."


def case(number: int = 1) -> Candidate:
    question = f"How long may I return laptop {number}?"
    messages = (ChatMessage(role="system", content=SYSTEM), ChatMessage(role="user", content=question))
    return Candidate(f"c{number}", f"m{number}", question, messages, BAD, "a-" + "2" * 16)


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
    """A proposer with its fakes, and a ledger that takes what the bus got unless the log is cut."""

    cases: list[Candidate] = field(default_factory=lambda: [case()])
    says: Says = field(default_factory=lambda: Says(BAD, GOOD, BEST))
    judge: FakeJudge = field(default_factory=lambda: FakeJudge(by_merit(merit)))
    settings: JudgeSettings = field(default_factory=lambda: JudgeSettings(url="http://judge", model="j"))
    answering: AnswerSettings = field(default_factory=AnswerSettings)
    prompt: JudgePrompt = field(default_factory=JudgePrompt)
    champion: str = CHAMPION
    cut: bool = False
    known: bool = True
    """Whether the judge has shown before that it reads."""
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.bus = MemoryBus()
        self.server = FakeModelServer(answer=self.says)
        self.server.held[REPLICA].add(CHAMPION)
        contest = Contest(self.server, self.judge, judging=self.settings, answering=self.answering, prompt=self.prompt)
        if self.known:
            contest.bias = KNOWN
        self.proposer = AnswerProposer(self, contest, self.bus, self.settings, lambda: self.now)

    async def candidates(self, limit: int, skip: Collection[str]) -> list[Candidate]:
        bettered = set() if self.cut else {event.message_id for event in self.proposals}
        return [waiting for waiting in self.cases if waiting.message_id not in {*skip, *bettered}][:limit]

    async def state(self, as_of: datetime) -> LoopState:
        deployment = DeploymentChanged(occurred_at=NOW, revision=1, champion=self.champion, salt="s", cause="start")
        return LoopState(deployment, None, None, as_of)

    async def wait_for(self, event_id: UUID, seconds: float) -> bool:
        return not self.cut and any(event.event_id == event_id for event in self.bus.events)

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
