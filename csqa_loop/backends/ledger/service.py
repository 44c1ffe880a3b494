"""The ledger for asyncio: one writer thread, two reader threads, and a bell that rings after every batch."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from csqa_loop.backends.ledger import experiments, pairs, queries
from csqa_loop.backends.ledger.facts import Rows
from csqa_loop.backends.ledger.store import Ledger
from csqa_loop.domain.error_control import PastExperiment
from csqa_loop.domain.errors import TransientError
from csqa_loop.domain.events import DeadLettered, Event
from csqa_loop.domain.examples import Example
from csqa_loop.domain.experiment import ArmTotals
from csqa_loop.domain.intake import Batch
from csqa_loop.domain.judging import Candidate
from csqa_loop.domain.preferences import Pair
from csqa_loop.domain.rollout import Experiment, LoopState

R = TypeVar("R")
_STANDBY_BEAT_SECONDS = 0.5


class LedgerService:
    """Writes go through one thread, reads through others on cursors of their own, so that a long query delays no batch."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._reader = ThreadPoolExecutor(2, thread_name_prefix="ledger-reader")
        self._closed_users = experiments.ClosedUsers()
        self._taken = asyncio.Condition()
        self.batches = 0
        self.owes_pairs = False
        """Whether facts are in the ledger whose pairs, blames and ratings are not."""

    async def open(self) -> None:
        """Open the file; the lock must be held already."""
        await self._on(self._writer, self._ledger.open)
        self.owes_pairs = await self._on(self._writer, self._ledger.derivation.owes)

    async def close(self) -> None:
        """Checkpoint and let go of the lock."""
        await self._on(self._reader, lambda: None)
        await self._on(self._writer, self._ledger.close)
        self._writer.shutdown()
        self._reader.shutdown()

    async def wait_for_lock(self) -> None:
        """Be a standby until this is the one active loop of the volume."""
        while not self._ledger.try_lock():  # noqa: ASYNC110 - a file lock of another process rings no bell here
            await asyncio.sleep(_STANDBY_BEAT_SECONDS)

    async def take(self, batch: Batch | Rows, *, later: bool = False) -> int:
        """As `Ledger.take`. After a refused write the file is opened again before the caller's next try."""
        fresh = await self._write(partial(self._ledger.take, batch, later=later))
        self.owes_pairs |= later  # after it: a `derive` that ended while this waited knew nothing of it
        self.batches += 1
        async with self._taken:
            self._taken.notify_all()
        return fresh

    async def derive(self) -> None:
        """Derive all that was put off. Batches may be taken between its parts."""
        while self.owes_pairs:
            self.owes_pairs = await self._write(self._ledger.derive)

    async def wait_for(self, event_id: UUID, seconds: float) -> bool:
        """Whether the ledger came to hold the event within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                async with self._taken:
                    while not await self.ask(queries.has_event, str(event_id)):
                        await self._taken.wait()
        except TimeoutError:
            return False
        return True

    async def next_batch(self, seen: int, seconds: float) -> None:
        """Return once more than `seen` batches were taken, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds), self._taken:
                await self._taken.wait_for(lambda: self.batches > seen)
        except TimeoutError:
            return

    async def ask(self, query: Callable[..., R], *arguments: object, **named: object) -> R:
        """Run `query(cursor, ...)` on a reader thread."""

        def run() -> R:
            cursor = self._ledger.reader()
            try:
                return query(cursor, *arguments, **named)
            finally:
                cursor.close()

        return await self._on(self._reader, run)

    # --- the log ----------------------------------------------------------------------------------------------------

    async def known_offsets(self) -> dict[tuple[str, int], tuple[int, str]]:
        """(topic, partition) -> (next offset, hash of the last record taken)."""
        return await self.ask(queries.next_offsets)

    async def begin_epoch(self, partitions: Sequence[tuple[str, int]], reason: str) -> int:
        """As `Ledger.begin_epoch`."""
        return await self._on(self._writer, self._ledger.begin_epoch, partitions, reason)

    async def letters_owed(self) -> list[DeadLettered]:
        """Dead letters that are not yet in their topic."""
        return await self.ask(queries.unpublished_letters)

    async def letters_paid(self, letters: Sequence[DeadLettered]) -> None:
        """They are."""
        await self._on(self._writer, self._ledger.mark_letters_published, [letter.letter_id for letter in letters])

    async def epoch_owed(self) -> tuple[int, list[Event]] | None:
        """(epoch, events) where a new log lacks the current policies, the deployment and the open training request."""
        return await self.ask(queries.epoch_debt)

    async def epoch_paid(self, epoch: int) -> None:
        """It has them."""
        await self._on(self._writer, self._ledger.mark_republished, epoch)

    # --- decisions --------------------------------------------------------------------------------------------------

    async def state(self, as_of: datetime) -> LoopState:
        """Deployment, latest run, latest experiment."""
        return await self.ask(queries.loop_state, as_of)

    async def fresh_pairs(self) -> list[Pair]:
        """Trainable pairs that no run has claimed, oldest first."""
        return await self.ask(pairs.fresh_pairs)

    async def holdout_pairs(self) -> list[Pair]:
        """Pairs that only ever evaluate."""
        return await self.ask(pairs.holdout_pairs)

    async def pairs_of(self, pair_ids: Sequence[str]) -> list[Pair]:
        """The named pairs."""
        return await self.ask(pairs.pairs_by_id, pair_ids)

    async def pair_states(self, pair_ids: Sequence[str]) -> dict[str, str]:
        """The state of each of them now; "gone" where nothing makes the pair any more."""
        return await self.ask(pairs.states_of, pair_ids)

    async def taught_pairs(self, champion: str) -> list[Pair]:
        """Pairs that this adapter and those it continues were trained on, and that may still be trained on, oldest first."""
        return await self.ask(pairs.taught_pairs, champion)

    async def fresh_examples(self) -> list[Example]:
        """Rated answers and demonstrations that may be trained on and that no run has claimed, oldest first."""
        return await self.ask(pairs.fresh_examples)

    async def examples_of(self, example_ids: Sequence[str]) -> list[Example]:
        """The named examples, as far as they may still be trained on."""
        return await self.ask(pairs.examples_by_id, example_ids)

    async def candidates(self, limit: int, skip: Collection[str]) -> list[Candidate]:
        """At most `limit` answers for which a better one is looked for."""
        return await self.ask(pairs.proposal_candidates, limit, skip)

    async def totals(self, experiment: Experiment, as_of: datetime, grace_seconds: float) -> tuple[ArmTotals, ArmTotals]:
        """Sums over closed users: challenger, control."""
        return await self.ask(self._closed_users.totals, experiment, as_of, grace_seconds)

    async def exposed(self, experiment_id: str) -> tuple[int, int]:
        """Users exposed so far: challenger, control."""
        return await self.ask(self._closed_users.exposed, experiment_id)

    async def in_both_arms(self, experiment_id: str) -> int:
        """Users who saw both arms and count nowhere."""
        return await self.ask(self._closed_users.in_both_arms, experiment_id)

    async def past_experiments(self) -> list[PastExperiment]:
        """Every experiment that was ever opened, oldest first."""
        return await self.ask(experiments.past_experiments)

    async def _write(self, call: Callable[[], R]) -> R:
        try:
            return await self._on(self._writer, call)
        except TransientError:
            await self._on(self._writer, self._ledger.reopen)
            raise

    @staticmethod
    async def _on(executor: ThreadPoolExecutor, call: Callable[..., R], *arguments: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(executor, call, *arguments)
