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
from csqa_loop.domain.experiment import ArmTotals, MetricTotals
from csqa_loop.domain.operators import Interventions
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
        self.users = 0

    def _last(self, kind: type[e.Event]) -> e.Event | None:
        return next((event for event in reversed(self.taken) if isinstance(event, kind)), None)

    async def state(self, as_of: object) -> LoopState:
        request, opened = self._last(e.TrainingRequested), self._last(e.ExperimentOpened)
        run = request and Run(request, request.occurred_at, trained=self._last(e.AdapterTrained), evaluated=self._last(e.AdapterEvaluated))
        experiment = opened and Experiment(opened, (self._last(e.ShareRaised) or opened).share, self._last(e.VerdictReached))
        acts = [event for event in self.taken if isinstance(event, e.OperatorActed)]
        last = {{"rollback": "order", "promote": "order", "resume": "pause"}.get(one.action, one.action): one for one in acts}
        pause = last.get("pause")
        operators = Interventions(pause if pause and pause.action == "pause" else None, last.get("stop"), last.get("order"))
        return LoopState(self._last(e.DeploymentChanged), run, experiment, as_of, operators)

    async def fresh_pairs(self) -> list[Pair]:
        claimed = {name for event in self.taken if isinstance(event, e.TrainingRequested) for name in event.pair_ids}
        return [pair for pair in self.pairs if pair.pair_id not in claimed]

    async def holdout_pairs(self) -> list[Pair]:
        return []

    async def pairs_of(self, pair_ids: Sequence[str]) -> list[Pair]:
        return [pair for pair in self.pairs if pair.pair_id in pair_ids]

    async def totals(self, experiment: Experiment, as_of: object, grace_seconds: float) -> tuple[ArmTotals, ArmTotals]:
        rated = {"satisfaction": MetricTotals(self.users, *[float(self.users)] * 5)} if self.users else {}
        return ArmTotals("challenger", self.users, rated), ArmTotals("control", self.users, rated)

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


def build(
    server: FakeModelServer | None = None, *, contract: e.ExperimentContract = CONTRACT, board: Board | None = None
) -> tuple[Decider, Board, MemoryBus, Reconciler]:
    board = board or Board(MemoryBus())
    bus = board.bus
    reconciler = Reconciler(server or FakeModelServer())
    decider = Decider(
        board, bus, RunPlanner(board, NoRuns(), TriggerPolicy(min_pairs=2, min_users=2), SelectionPolicy(max_pairs=5)), Examiner(board, 0), reconciler,
        contract=contract, progress_timeout=timedelta(minutes=5), max_attempts=2, clock=lambda: make.at(10), horizon=lambda: make.at(10),
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


# --- operators ------------------------------------------------------------------------------------------------------


async def act(board: Board, action: str, *, target: str = "", experiment: str = "none") -> e.OperatorActed:
    event = e.OperatorActed(
        occurred_at=make.at(11 + len(board.taken)),
        experiment_id=experiment,
        action=action,
        operator="ann",
        reason="it is rude",
        target=target,
    )
    await board.bus.publish(event)
    await board.wait_for(event.event_id, 0)
    return event


async def gated(board: Board, decider: Decider, *, second: float = 10) -> None:
    """A passed adapter; the next beat opens its experiment."""
    board.pairs = [pair(1), pair(2)]
    await decider.beat()
    request = board._last(e.TrainingRequested)
    assert isinstance(request, e.TrainingRequested)
    told = {"occurred_at": make.at(second), "run_id": request.run_id, "attempt": 1, "adapter": ADAPTER}
    trained = e.AdapterTrained(parent="base", recipe_hash="", data_hash="", pairs=2, seconds=1, **told)
    await board.bus.publish(trained, e.AdapterEvaluated(champion="base", passed=True, **told))
    await board.wait_for(trained.event_id, 0)


async def test_a_paused_loop_claims_no_run_and_opens_no_experiment() -> None:
    decider, board, bus, _ = build()
    await decider.beat()
    await act(board, "pause")
    board.pairs = [pair(1), pair(2)]
    await decider.beat()
    assert "TrainingRequested" not in kinds(bus)
    await act(board, "resume")
    await gated(board, decider)
    await act(board, "pause")
    await decider.beat()
    assert "ExperimentOpened" not in kinds(bus)
    await act(board, "resume")
    await decider.beat()
    assert "ExperimentOpened" in kinds(bus)


async def test_a_pause_lets_an_experiment_end_but_not_grow() -> None:
    decider, board, bus, _ = build(contract=CONTRACT.model_copy(update={"ramp": (0.4, 1.0)}))
    await gated(board, decider)
    await decider.beat()
    await act(board, "pause")
    board.users = 5
    await decider.beat()
    assert "ShareRaised" not in kinds(bus)
    assert "VerdictReached" not in kinds(bus)
    await act(board, "resume")
    await decider.beat()
    assert kinds(bus).count("ShareRaised") == 1
    await act(board, "pause")
    board.users = 10
    await decider.beat()
    verdict = board._last(e.VerdictReached)
    assert isinstance(verdict, e.VerdictReached)
    assert verdict.verdict == "INCONCLUSIVE"


async def test_a_promotion_waits_for_the_end_of_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    decider, board, bus, _ = build()
    await gated(board, decider)
    await decider.beat()

    async def promising(self: Examiner, experiment: Experiment, *, as_of: object, now: object) -> e.VerdictReached:
        return e.VerdictReached(
            occurred_at=make.at(12),
            experiment_id=experiment.opened.experiment_id,
            verdict="PROMOTE",
            as_of=make.at(12),
            stopped_by="",
            estimates=(),
        )

    monkeypatch.setattr(Examiner, "look", promising)
    await act(board, "pause")
    await decider.beat()
    assert "VerdictReached" not in kinds(bus)
    await act(board, "resume")
    await decider.beat()
    deployed = board._last(e.DeploymentChanged)
    assert isinstance(deployed, e.DeploymentChanged)
    assert deployed.champion == ADAPTER


async def test_a_rollback_in_an_experiment_ends_it_first_and_is_done_once() -> None:
    decider, board, bus, reconciler = build()
    await gated(board, decider)
    await decider.beat()
    board.users = 5
    name = board._last(e.ExperimentOpened).experiment_id
    order = await act(board, "rollback", target="base", experiment=name)
    await decider.beat()
    verdict, deployed = board._last(e.VerdictReached), board._last(e.DeploymentChanged)
    assert isinstance(verdict, e.VerdictReached)
    assert isinstance(deployed, e.DeploymentChanged)
    assert (verdict.verdict, verdict.stopped_by) == ("INCONCLUSIVE", "operator ann: it is rude")
    assert {row.users for row in verdict.estimates if row.arm != "difference"} == {5}
    assert (deployed.champion, deployed.experiment, deployed.order) == ("base", None, order.event_id)
    published = list(bus.events)
    again, _, _, _ = build(board=board)
    await again.beat()
    assert bus.events == published
    assert all(ADAPTER not in names for names in reconciler.resident.values())


async def test_an_adapter_is_promoted_by_hand_once_every_replica_holds_it() -> None:
    server = FakeModelServer(known=set())
    decider, board, _, _ = build(server)
    await decider.beat()
    order = await act(board, "promote", target=ADAPTER)
    await decider.beat()
    waiting = board._last(e.DeploymentChanged)
    assert isinstance(waiting, e.DeploymentChanged)
    assert (waiting.champion, waiting.candidate, waiting.order) == ("base", ADAPTER, None)
    server.known = None
    await decider.beat()
    deployed = board._last(e.DeploymentChanged)
    assert isinstance(deployed, e.DeploymentChanged)
    assert (deployed.champion, deployed.candidate, deployed.previous_champion, deployed.order) == (ADAPTER, None, "base", order.event_id)


async def test_later_revisions_repeat_the_order_that_was_carried_out() -> None:
    decider, board, _, _ = build()
    await decider.beat()
    order = await act(board, "rollback", target="base")
    await decider.beat()
    await gated(board, decider, second=1000)
    await decider.beat()
    deployed = board._last(e.DeploymentChanged)
    assert isinstance(deployed, e.DeploymentChanged)
    assert deployed.challenger == ADAPTER
    assert deployed.order == order.event_id


async def test_a_rollback_to_the_base_waits_for_no_model_server() -> None:
    server = FakeModelServer()
    decider, board, _, _ = build(server)
    await decider.beat()
    await act(board, "promote", target=ADAPTER)
    await decider.beat()
    server.down = True
    await act(board, "rollback", target="base")
    await decider.beat()
    deployed = board._last(e.DeploymentChanged)
    assert isinstance(deployed, e.DeploymentChanged)
    assert deployed.champion == "base"
