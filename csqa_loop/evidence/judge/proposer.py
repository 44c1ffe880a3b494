"""Better answers that models find: which bad ones are looked at, how fast, and when a winner is published.

Whatever goes wrong, nothing is proposed, and the case stays where people see it.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import BASE, AnswerProposed, derived_id
from csqa_loop.evidence.judge.contest import Contender, Contest
from csqa_loop.evidence.judge.rules.judging import Candidate
from csqa_loop.evidence.pair_queries import proposal_candidates
from csqa_loop.ledger.service import LedgerService
from csqa_loop.log.bus import Bus
from csqa_loop.retry import growing
from csqa_loop.settings import JudgeSettings
from csqa_loop.text.vouching import vouched

_log = logging.getLogger(__name__)
_BEAT_SECONDS = 2.0
_MOST_STRIKES = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 600.0
_HOUR = timedelta(hours=1)
_RECORDED_WITHIN = 15.0
"""Seconds until a published proposal must have come back through the log."""
_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class BiasStatus:
    """The judge's position bias: `changed` is the share of its verdicts that another order turned."""

    comparisons: int
    changed: float | None
    by_chance: float
    trusted: bool
    named: str | None


@dataclass(frozen=True, slots=True)
class LastError:
    """The last failure."""

    at: str
    message: str


@dataclass(frozen=True, slots=True)
class ProposalStatus:
    """Counts since the start, what went wrong last, and whether the judge goes by place."""

    judge: str
    tried: int
    proposed: dict[str, int]
    ties: int
    unreadable: int
    given_up: int
    judge_errors: int
    last_error: LastError | None
    paused_until: str | None
    withheld: int
    position_bias: BiasStatus


class AnswerProposer:
    """Goes through the cases, `concurrency` at once and at most `per_hour` in an hour. `run` is a task of its own: no other beat waits for it.

    What was tried is remembered in memory only: a case without a better answer is tried again when another champion serves, and after a
    restart.
    """

    def __init__(
        self,
        ledger: LedgerService,
        contest: Contest,
        bus: Bus,
        settings: JudgeSettings,
        clock: Callable[[], datetime],
        champion: Callable[[], Awaitable[str]],
        secret: bytes,
    ) -> None:
        """`champion` returns the adapter that serves now; `secret` is the installation's."""
        self._ledger = ledger
        self._contest = contest
        self._bus = bus
        self._settings = settings
        self._clock = clock
        self._serving = champion
        self._secret = secret
        self._champion = BASE
        self._settled: set[str] = set()
        """Messages that need no further try while this champion serves: a better answer is on record, or it has none."""
        self._postponed: set[str] = set()
        """Messages that are tried again after all others."""
        self._strikes: Counter[str] = Counter()
        """Failed tries of a message, of failures that another try seldom mends."""
        self._withheld: dict[str, AnswerProposed] = {}
        """Message -> the preferred answer of a judge that is not trusted yet, as it may choose at random."""
        self._unrecorded: dict[str, AnswerProposed] = {}
        """Message -> a proposal that the ledger does not hold yet."""
        self._tries: deque[datetime] = deque()
        self._counts: Counter[str] = Counter()
        self._pauses = growing(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._pause_until = _LONG_AGO
        self._last_error: LastError | None = None

    async def run(self, ready: Callable[[], bool]) -> None:
        """Beat until cancelled, whenever the loop is `ready`. No failure ends it; `status` has the last one."""
        while True:
            if ready() and self._clock() >= self._pause_until:
                try:
                    await self.beat()
                except TransientError as error:
                    self._pause(str(error))
                except Exception as error:
                    _log.exception("looking for better answers failed in a way that nobody foresaw")
                    self._pause(f"{type(error).__name__}: {error}")
            await asyncio.sleep(_BEAT_SECONDS)

    async def beat(self) -> None:
        """Try the next cases and publish what was found.

        Raises:
            TransientError: ledger, model server, judge or log did not answer, or the judge cannot be trusted. Cases are tried again later,
                proposals sent again.
        """
        await self._publish()
        now = self._clock()
        champion = await self._serving()
        if champion != self._champion:
            self._champion = champion
            self._settled.clear()
        cases = await self._next(now)
        if not cases:
            return
        troubles = await asyncio.gather(*(self._try(case) for case in cases))
        self._judge_the_judge()
        await self._publish()
        trouble = next(filter(None, troubles), self._contest.bias.named)
        if trouble:
            raise TransientError(trouble)
        self._pauses = growing(_FIRST_PAUSE, _LONGEST_PAUSE)

    def status(self) -> ProposalStatus:
        """Counts, the last failure and the judge's bias."""
        contest, bias = self._contest, self._contest.bias
        return ProposalStatus(
            judge=contest.judge_model,
            tried=self._counts["tried"],
            proposed={"resample": self._counts["resample"], "judge": self._counts["judge"]},
            ties=self._counts["ties"],
            unreadable=contest.counts["unreadable"],
            given_up=len(self._given_up),
            judge_errors=contest.counts["judge_errors"],
            last_error=self._last_error,
            paused_until=self._pause_until.isoformat() if self._pause_until > self._clock() else None,
            withheld=len(self._withheld),
            position_bias=BiasStatus(len(bias.outcomes), bias.changed, bias.by_chance, bias.trusted, bias.named),
        )

    @property
    def _given_up(self) -> set[str]:
        return {message for message, strikes in self._strikes.items() if strikes >= _MOST_STRIKES}

    async def _next(self, now: datetime) -> list[Candidate]:
        while self._tries and now - self._tries[0] >= _HOUR:
            self._tries.popleft()
        room = min(self._settings.concurrency, self._settings.per_hour - len(self._tries))
        if room <= 0:
            return []
        skip = self._settled | self._postponed | self._given_up | self._withheld.keys()
        cases = await self._ledger.ask(proposal_candidates, room, skip)
        if not cases:
            self._postponed.clear()
        self._tries.extend(now for _ in cases)
        return cases

    async def _try(self, case: Candidate) -> str | None:
        """Look for a better answer; returns an error that other cases would meet too, if any."""
        self._counts["tried"] += 1
        try:
            winner = await self._contest.winner(case, self._champion)
        except TransientError as error:
            self._postponed.add(case.message_id)
            return str(error)
        except Exception as error:
            # Whatever it is, this case must not stand in the way of the others.
            self._postponed.add(case.message_id)
            self._strikes[case.message_id] += 1
            self._note(f"{case.message_id}, try {self._strikes[case.message_id]} of {_MOST_STRIKES}: {error}")
            if not isinstance(error, PermanentError):
                _log.exception("looking for a better answer failed in a way that nobody foresaw")
            return None
        if self._contest.bias.named:
            self._postponed.add(case.message_id)
        elif winner:
            self._withheld[case.message_id] = self._proposal(case, winner)
        else:
            self._counts["ties"] += 1
            self._settled.add(case.message_id)
        return None

    def _judge_the_judge(self) -> None:
        """Publish the preferred answers once the judge is trusted; forget them where it has a position bias."""
        if self._contest.bias.named:
            self._postponed |= self._withheld.keys()
            self._withheld.clear()
        elif self._contest.bias.trusted:
            self._unrecorded |= self._withheld
            self._withheld.clear()

    def _proposal(self, case: Candidate, winner: Contender) -> AnswerProposed:
        told = vouched(self._secret, case.message_id, (winner.text,), self._contest.own, [case.system_text])
        return AnswerProposed(
            event_id=derived_id(case.message_id, "AnswerProposed", winner.method),
            occurred_at=self._clock(),
            conversation_id=case.conversation_id,
            message_id=case.message_id,
            method=winner.method,
            answer=winner.text,
            adapter=winner.adapter,
            judge_model=self._contest.judge_model,
            judge_prompt_version=self._contest.prompt_version,
            stated=told.stated,
            stated_proof=told.proof,
        )

    async def _publish(self) -> None:
        """Publish what the ledger lacks, byte for byte until the ledger holds it: another body under the same id would be a dead letter."""
        for message_id, proposal in list(self._unrecorded.items()):
            await self._bus.publish(proposal)
            if not await self._ledger.wait_for(proposal.event_id, _RECORDED_WITHIN):
                raise TransientError(f"the proposal for {message_id} is published and not yet back from the log")
            del self._unrecorded[message_id]
            self._settled.add(message_id)
            self._counts[proposal.method] += 1

    def _pause(self, reason: str) -> None:
        pause = next(self._pauses)
        self._pause_until = self._clock() + timedelta(seconds=pause)
        self._note(f"{reason}; waiting {pause:g} s")

    def _note(self, error: str) -> None:
        self._last_error = LastError(self._clock().isoformat(), error)
        _log.warning("no better answer: %s", error)
