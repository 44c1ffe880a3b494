"""One bad answer against possible better ones, before a judge.

The champion is asked again first. Only where nothing that it says is better, the judge writes an answer itself, which must win like any other.
"""

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from csqa_loop.answering.model.server import ModelServer
from csqa_loop.errors import CsqaError, PermanentError
from csqa_loop.events import ChatMessage, Sampling
from csqa_loop.evidence.judge.judge import Judge
from csqa_loop.evidence.judge.rules.judging import (
    Candidate,
    PositionBias,
    Preferred,
    agreed,
    parse_answer,
    parse_verdict,
    stands_on_policy,
    writing,
)
from csqa_loop.evidence.judge.rules.prompts import JudgePrompt
from csqa_loop.settings import AnswerSettings, JudgeSettings
from csqa_loop.text.masking import NOTHING, Known, label_in, mask, with_contacts
from csqa_loop.text.normal import normalised

_OURS = JudgePrompt()
_REPLY_TOKENS = 512
"""Of the judge: a verdict with its reason, or an answer of two sentences."""


@dataclass(frozen=True)
class Contender:
    """An answer that may be better than the bad one."""

    method: Literal["resample", "judge"]
    text: str
    adapter: str
    """The adapter that generated it; where the judge wrote it, the one that generated the bad answer."""


class Contest:
    """Holds contests, and measures the judge's position bias."""

    def __init__(
        self,
        server: ModelServer,
        judge: Judge,
        *,
        judging: JudgeSettings,
        answering: AnswerSettings,
        prompt: JudgePrompt = _OURS,
        own: Known = NOTHING,
    ) -> None:
        self._server = server
        self._judge = judge
        self._judging = judging
        self._answering = answering
        self._prompt = prompt
        self.own = own
        self.bias = PositionBias()
        self.counts: Counter[str] = Counter()
        """`unreadable` replies and `judge_errors`, since the start."""

    @property
    def judge_model(self) -> str:
        """The judge model's name."""
        return self._judge.model

    @property
    def prompt_version(self) -> str:
        """The version of the judge prompt."""
        return self._prompt.version

    async def winner(self, case: Candidate, champion: str) -> Contender | None:
        """The best answer that beats the bad one; None where none does.

        Raises:
            TransientError: model server or judge does not answer.
            PermanentError: one of them refused the request, or the judge's reply is no verdict.
        """
        best: Contender | None = None
        for sample in await self._samples(case, champion):
            if await self._wins(case, sample.text, case.answer) and (best is None or await self._wins(case, sample.text, best.text)):
                best = sample
        if best is not None:
            return best
        written = await self._written(case)
        return written if written and await self._wins(case, written.text, case.answer) else None

    async def _samples(self, case: Candidate, champion: str) -> list[Contender]:
        """New answers of the champion to the same question: whole answers, unlike the bad one and each other."""
        contenders: dict[str, Contender] = {}
        for number in range(self._judging.samples):
            sampling = Sampling(
                temperature=self._judging.temperature,
                top_p=self._answering.top_p,
                max_tokens=self._answering.max_tokens,
                seed=_seed(case.message_id, number),
            )
            generation = await self._server.generate(champion, case.messages, sampling, fallback=champion)
            text = self._as_on_record(generation.text, case)
            # Cut off in the middle: it would teach to stop there.
            if generation.finish_reason != "length" and _worth_judging(text, case):
                contenders.setdefault(normalised(text), Contender("resample", text, generation.adapter))
        return list(contenders.values())

    async def _written(self, case: Candidate) -> Contender | None:
        """The judge's own answer; None where the policy does not say, or the judge states more than the policy."""
        reply = await self._ask(writing(case))
        answer = parse_answer(reply)
        if answer is None:
            raise self._unreadable(reply, 'an object with "answer"')
        text = self._as_on_record(answer, case)
        return Contender("judge", text, case.adapter) if _worth_judging(text, case) else None

    def _as_on_record(self, text: str, case: Candidate) -> str:
        """As the bad answer lies in the ledger: what is masked in one only would decide the comparison."""
        return mask(text, with_contacts(self.own, case.system_text)).strip()

    async def _wins(self, case: Candidate, answer: str, rival: str) -> bool:
        """Whether the judge prefers `answer` to `rival` in both orders."""
        first, second = await self._verdict(case, answer, rival), await self._verdict(case, rival, answer)
        self.bias = self.bias.after(first, second, of=sha256(f"{case.message_id}\n{answer}\n{rival}".encode()).hexdigest())
        return agreed(first, second) == "A"

    async def _verdict(self, case: Candidate, a: str, b: str) -> Preferred:
        reply = await self._ask(self._prompt.comparison(case, a, b))
        verdict = parse_verdict(reply)
        if verdict is None:
            raise self._unreadable(reply, "a winner")
        return verdict

    async def _ask(self, messages: tuple[ChatMessage, ...]) -> str:
        try:
            return await self._judge.complete(messages, max_tokens=_REPLY_TOKENS, temperature=0.0)
        except CsqaError:
            self.counts["judge_errors"] += 1
            raise

    def _unreadable(self, reply: str, expected: str) -> PermanentError:
        self.counts["unreadable"] += 1
        return PermanentError(f"the judge {self._judge.model} replied {reply[:80]!r}; {expected} was asked for")


def _worth_judging(answer: str, case: Candidate) -> bool:
    """Whether it is not empty, differs from the bad answer, and has no masked contact and no number that the policy does not state."""
    letters = normalised(answer)
    return bool(letters) and letters != normalised(case.answer) and label_in(answer) is None and stands_on_policy(answer, case.messages)


def _seed(message_id: str, number: int) -> int:
    return int.from_bytes(sha256(f"{message_id}\n{number}".encode()).digest()[:4])
