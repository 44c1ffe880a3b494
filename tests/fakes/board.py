"""A decider on a ledger and a log in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from uuid import UUID

from csqa_loop import events as e
from csqa_loop.evidence.rules.examples import Example
from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.experiment.rules.analysis import ArmTotals, MetricTotals
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.rollout.decider import Decider
from csqa_loop.rollout.reconciler import Reconciler
from csqa_loop.rollout.rules.operators import Interventions
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.training.adapters import AdapterFolders
from csqa_loop.training.planner import RunPlanner, RunPolicy
from csqa_loop.training.rules.attempts import Run
from csqa_loop.training.rules.selection import SelectionPolicy
from csqa_loop.training.rules.trigger import TriggerPolicy
from tests import events as make
from tests.fakes.bus import MemoryBus
from tests.fakes.model_server import FakeModelServer

ADAPTER = "a-0123456789abcdef"


class SoundFolders(AdapterFolders):
    """Every adapter is where it belongs, but for those that are named with what is wrong with them."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.faults: dict[str, str] = {}

    def fault(self, name: str) -> str:
        return self.faults.get(name, "")


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
        self.holdout: list[Pair] = []
        self.taught: list[Pair] = []
        self.examples: list[Example] = []
        self.states: dict[str, str] = {}
        self.users = 0
        self.rates = 1.0, 1.0
        """Satisfaction of the challenger's users and of the control's."""
        self.now = make.at(10)
        """Clock and horizon of the deciders on this board."""

    def _last(self, kind: type[e.Event]) -> e.Event | None:
        return next((event for event in reversed(self.taken) if isinstance(event, kind)), None)

    async def state(self, as_of: datetime) -> LoopState:
        request, opened = self._last(e.TrainingRequested), self._last(e.ExperimentOpened)
        said = [event for event in self.taken if isinstance(event, e.TrainingEvent) and request and _attempt(event) == _attempt(request)]
        told = {event.type: event for event in said}
        kinds = {
            "trained": "AdapterTrained",
            "failed": "TrainingFailed",
            "evaluated": "AdapterEvaluated",
            "unservable": "AdapterUnservable",
        }
        run = request and Run(request, said[-1].occurred_at, **{field: told.get(kind) for field, kind in kinds.items()})
        experiment = opened and Experiment(opened, (self._last(e.ShareRaised) or opened).share, self._last(e.VerdictReached))
        acts = [event for event in self.taken if isinstance(event, e.OperatorActed)]
        last = {{"rollback": "order", "promote": "order", "resume": "pause"}.get(one.action, one.action): one for one in acts}
        pause = last.get("pause")
        operators = Interventions(
            pause if pause and pause.action == "pause" else None,
            last.get("stop"),
            last.get("order"),
            acts[-1].occurred_at if acts else None,
        )
        return LoopState(self._last(e.DeploymentChanged), run, experiment, as_of, operators)

    async def fresh_pairs(self) -> list[Pair]:
        claimed = {name for event in self.taken if isinstance(event, e.TrainingRequested) for name in event.pair_ids}
        return [pair for pair in self.pairs if pair.pair_id not in claimed]

    async def holdout_pairs(self) -> list[Pair]:
        return self.holdout

    async def taught_pairs(self, champion: str) -> list[Pair]:
        return self.taught if champion != e.BASE else []

    async def fresh_examples(self) -> list[Example]:
        claimed = {name for event in self.taken if isinstance(event, e.TrainingRequested) for name in event.example_ids}
        return [example for example in self.examples if example.example_id not in claimed]

    async def examples_of(self, example_ids: Sequence[str]) -> list[Example]:
        return [example for example in self.examples if example.example_id in example_ids]

    async def pairs_of(self, pair_ids: Sequence[str]) -> list[Pair]:
        return [pair for pair in (*self.pairs, *self.holdout, *self.taught) if pair.pair_id in pair_ids]

    async def pair_states(self, pair_ids: Sequence[str]) -> dict[str, str]:
        return {name: self.states.get(name, "claimed") for name in pair_ids}

    async def totals(self, experiment: Experiment, as_of: object, grace_seconds: float) -> tuple[ArmTotals, ArmTotals]:
        def arm(name: Literal["challenger", "control"], rate: float) -> ArmTotals:
            ups, thumbs = rate * self.users, float(self.users)
            return ArmTotals(
                name, self.users, {"satisfaction": MetricTotals(self.users, ups, thumbs, ups, thumbs, ups)} if self.users else {}
            )

        return arm("challenger", self.rates[0]), arm("control", self.rates[1])

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
    """Run directories that are only counted on."""

    regression: tuple[str, ...] = ()

    async def examined(self) -> tuple[str, ...]:
        return self.regression

    def recipe_hash(self, champion: str, examples_hash: str, method: str | None) -> str:
        return "recipe"

    async def prepare(self, request: e.TrainingRequested, pairs: Sequence[Pair], holdout: Sequence[Pair], **_: Sequence[object]) -> None:
        assert [pair.pair_id for pair in pairs] == list(request.pair_ids)


def build(
    server: FakeModelServer | None = None,
    *,
    contract: e.ExperimentContract = CONTRACT,
    board: Board | None = None,
    folders: SoundFolders | None = None,
) -> tuple[Decider, Board, MemoryBus, Reconciler]:
    board = board or Board(MemoryBus())
    bus = board.bus
    reconciler = Reconciler(server or FakeModelServer())
    decider = Decider(
        board, bus, RunPlanner(board, NoRuns(), RunPolicy(TriggerPolicy(min_pairs=2, min_users=2), SelectionPolicy(max_pairs=5))),
        Examiner(board, 0), reconciler, folders or SoundFolders(), resident_within=timedelta(seconds=600),
        contract=contract, progress_timeout=timedelta(minutes=5), max_attempts=2, clock=lambda: board.now, horizon=lambda: board.now,
    )  # fmt: skip
    return decider, board, bus, reconciler


def _attempt(event: e.TrainingEvent) -> tuple[str, int]:
    return event.run_id, event.attempt


def pair(number: int) -> Pair:
    return Pair(
        f"p-{number}", f"m{number}", "returns", "s", False, f"question {number} about something else {number * 7919}", "[]", "good", "bad", "correction", 1.0,
        "base", "a", "b", make.at(number), user=f"u-{number}",
    )  # fmt: skip


def kinds(bus: MemoryBus) -> list[str]:
    return [event.type for event in bus.events]


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


def deployed(board: Board) -> e.DeploymentChanged:
    event = board._last(e.DeploymentChanged)
    assert isinstance(event, e.DeploymentChanged)
    return event
