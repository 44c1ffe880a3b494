"""The beat: one decision at a time, recorded before the next."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from csqa_loop.cycle.decide import Decider
from csqa_loop.cycle.experiment import Examiner
from csqa_loop.cycle.promote import Reconciler
from csqa_loop.cycle.train import RunPlanner
from csqa_loop.domain import events as e
from csqa_loop.domain.experiment import ArmTotals
from csqa_loop.domain.preferences import Pair
from csqa_loop.domain.rollout import Experiment, LoopState, Run
from csqa_loop.domain.selection import Selection, SelectionPolicy, select
from csqa_loop.domain.trigger import TriggerPolicy
from tests import events as make
from tests.fakes.bus import MemoryBus
from tests.fakes.model_server import FakeModelServer

ADAPTER = "a-0123456789abcdef"
CONTRACT = e.ExperimentContract(
    primary="satisfaction",
    guardrails=(),
    alpha=0.05,
    window_seconds=1,
    burn_in_users=2,
    max_users=10,
    max_seconds=1e6,
    ramp=(1.0,),
    ramp_users=1,
)


class Board:
    """A ledger that takes what the bus got, unless the log is cut."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.cut = False
        self.taken: list[e.Event] = []
        self.pairs: list[Pair] = []

    def _last(self, kind: type[e.Event]) -> e.Event | None:
        return next((event for event in reversed(self.taken) if isinstance(event, kind)), None)

    async def state(self, as_of: object) -> LoopState:
        request, opened = self._last(e.TrainingRequested), self._last(e.ExperimentOpened)
        run = request and Run(request, request.occurred_at, trained=self._last(e.AdapterTrained), evaluated=self._last(e.AdapterEvaluated))
        experiment = opened and Experiment(opened, 1.0, self._last(e.VerdictReached))
        return LoopState(self._last(e.DeploymentChanged), run, experiment, as_of)

    async def fresh_pairs(self) -> list[Pair]:
        claimed = {name for event in self.taken if isinstance(event, e.TrainingRequested) for name in event.pair_ids}
        return [pair for pair in self.pairs if pair.pair_id not in claimed]

    async def holdout_pairs(self) -> list[Pair]:
        return []

    async def pairs_of(self, pair_ids: Sequence[str]) -> list[Pair]:
        return [pair for pair in self.pairs if pair.pair_id in pair_ids]

    async def totals(self, experiment: Experiment, as_of: object, grace_seconds: float) -> tuple[ArmTotals, ArmTotals]:
        return ArmTotals("challenger", 0, {}), ArmTotals("control", 0, {})

    async def exposed(self, experiment_id: str) -> tuple[int, int]:
        return 0, 0

    async def wait_for(self, event_id: UUID, seconds: float) -> bool:
        if not self.cut:
            known = {event.event_id for event in self.taken}
            for event in self.bus.events:
                if event.event_id not in known:
                    known.add(event.event_id)
                    self.taken.append(event)
        return any(event.event_id == event_id for event in self.taken)


class NoRuns:
    def recipe_hash(self, champion: str, pairs_hash: str) -> str:
        return "recipe"

    async def prepare(self, request: e.TrainingRequested, pairs: Sequence[Pair], holdout: Sequence[Pair]) -> None:
        assert [pair.pair_id for pair in pairs] == list(request.pair_ids)


def build(server: FakeModelServer | None = None) -> tuple[Decider, Board, MemoryBus, Reconciler]:
    bus = MemoryBus()
    board = Board(bus)
    reconciler = Reconciler(server or FakeModelServer())
    decider = Decider(
        board, bus, RunPlanner(board, NoRuns(), TriggerPolicy(min_pairs=2, min_users=2), SelectionPolicy(max_pairs=5)), Examiner(board, 0), reconciler,
        contract=CONTRACT, progress_timeout=timedelta(minutes=5), max_attempts=2, clock=lambda: make.at(10), horizon=lambda: make.at(10),
    )  # fmt: skip
    return decider, board, bus, reconciler


def pair(number: int) -> Pair:
    return Pair(
        f"p-{number}", f"m{number}", "returns", "s", False, f"question {number} about something else {number * 7919}", "[]", "good", "bad", "correction", 1.0,
        "base", "a", "b", make.at(number), user=f"u-{number}",
    )  # fmt: skip


def kinds(bus: MemoryBus) -> list[str]:
    return [event.type for event in bus.events]


async def test_the_first_beat_deploys_the_base() -> None:
    decider, _, bus, _ = build()
    await decider.beat()
    await decider.beat()
    assert [(event.type, event.champion, event.revision) for event in bus.events] == [("DeploymentChanged", "base", 1)]


async def test_enough_pairs_are_one_run() -> None:
    decider, board, bus, _ = build()
    board.pairs = [pair(1), pair(2), pair(3)]
    for _ in range(3):
        await decider.beat()
    assert kinds(bus) == ["DeploymentChanged", "TrainingRequested"]


async def test_the_request_says_what_was_left_out_and_why() -> None:
    decider, board, _, _ = build()
    board.pairs = [pair(1), pair(2), replace(pair(3), question=pair(1).question), replace(pair(4), user="u-1")]
    await decider.beat()
    await decider.beat()
    request = board._last(e.TrainingRequested)
    assert isinstance(request, e.TrainingRequested)
    assert request.pair_ids == ("p-1", "p-2")
    assert request.reason == "enough fresh pairs: 2 pairs of 2 customers; left out: 1 near_duplicate, 1 user_share"


async def test_no_run_rests_on_too_few_customers_or_on_one_pair_told_twice() -> None:
    decider, board, bus, _ = build()
    board.pairs = [replace(pair(number), user="u-1") for number in range(1, 5)]
    await decider.beat()
    await decider.beat()
    board.pairs = [pair(1), replace(pair(2), question=pair(1).question)]
    await decider.beat()
    assert kinds(bus) == ["DeploymentChanged"]


async def test_what_was_found_too_little_is_looked_at_again_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    selections: list[int] = []

    def counted(pairs: list[Pair], protected: list[str], policy: SelectionPolicy) -> Selection:
        selections.append(len(pairs))
        return select(pairs, protected, policy)

    monkeypatch.setattr("csqa_loop.cycle.train.select", counted)
    decider, board, bus, _ = build()
    board.pairs = [pair(1)]  # fewer than any selection could take
    for _ in range(3):
        await decider.beat()
    board.pairs.append(replace(pair(2), question=pair(1).question))
    for _ in range(3):
        await decider.beat()
    board.pairs.append(pair(3))
    for _ in range(3):
        await decider.beat()
    assert selections == [2, 3]
    assert kinds(bus) == ["DeploymentChanged", "TrainingRequested"]


async def test_a_decision_that_does_not_come_back_is_sent_again_unchanged() -> None:
    decider, board, bus, _ = build()
    await decider.beat()
    board.pairs, board.cut = [pair(1), pair(2)], True
    await decider.beat()
    board.pairs.append(pair(3))  # a new decision would now be another run
    await decider.beat()
    requests = [event.to_json() for event in bus.events if isinstance(event, e.TrainingRequested)]
    assert len(requests) >= 2
    assert len(set(requests)) == 1
    board.cut = False
    await decider.beat()
    assert len({event.run_id for event in bus.events if isinstance(event, e.TrainingRequested)}) == 1


async def test_no_traffic_moves_to_an_adapter_that_no_replica_holds() -> None:
    server = FakeModelServer(known=set())  # refuses every adapter
    decider, board, bus, _ = build(server)
    board.pairs = [pair(1), pair(2)]
    await decider.beat()
    request = board._last(e.TrainingRequested)
    assert isinstance(request, e.TrainingRequested)
    trained = e.AdapterTrained(
        occurred_at=make.at(10),
        run_id=request.run_id,
        attempt=1,
        adapter=ADAPTER,
        parent="base",
        recipe_hash="",
        data_hash="",
        pairs=2,
        seconds=1,
    )
    judged = e.AdapterEvaluated(occurred_at=make.at(10), run_id=request.run_id, attempt=1, adapter=ADAPTER, champion="base", passed=True)
    await bus.publish(trained, judged)
    await board.wait_for(trained.event_id, 0)
    await decider.beat()
    assert "ExperimentOpened" not in kinds(bus)
    server.known = None
    await decider.beat()
    deployed = board._last(e.DeploymentChanged)
    assert isinstance(deployed, e.DeploymentChanged)
    assert (deployed.challenger, deployed.share) == (ADAPTER, 1.0)
    assert kinds(bus).index("ExperimentOpened") < len(kinds(bus)) - 1
