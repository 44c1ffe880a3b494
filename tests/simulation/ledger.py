"""A ledger in memory: the queries of the decision core over lists of facts, with the product's own types for what they answer."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from csqa_loop import events as e
from csqa_loop.experiment.rules.experiments import Experiment
from csqa_loop.experiment.rules.feasibility import RecentLatency
from csqa_loop.experiment.state import recent_latency
from csqa_loop.ledger.moments import OLD
from csqa_loop.rollout.history import adapter_records
from csqa_loop.rollout.rules.operators import Interventions
from csqa_loop.rollout.rules.state import LoopState
from csqa_loop.rollout.rules.versions import AdapterRecord, adapter_history
from csqa_loop.rollout.state import interventions, loop_state
from csqa_loop.training.rules.attempts import Run, RunState, state_of
from tests.simulation.log import TOPICS, Fact, Log

_PAUSES = {"pause": "pause", "resume": "pause", "stop": "stop", "promote": "order", "rollback": "order"}
_HISTORY = (e.AdapterTrained, e.AdapterEvaluated, e.AdapterUnservable, e.ExperimentOpened, e.VerdictReached)


def recorded(fact: Fact) -> datetime:
    """When it happened, as far as the log vouches for it."""
    said = fact.event.occurred_at
    return fact.stamp if said > fact.stamp - OLD else said


class MemoryLedger:
    """Takes each event once, in the order of its topic; topics are read independently of each other."""

    def __init__(self) -> None:
        self.next = dict.fromkeys(TOPICS, 0)
        """Topic -> offset of the record to take next."""
        self.ids: set[UUID] = set()
        self.requests: list[e.TrainingRequested] = []
        self.attempts: dict[tuple[str, int], list[Fact]] = {}
        self.experiments: list[e.ExperimentOpened] = []
        self.shares: dict[str, float] = {}
        self.verdicts: dict[str, e.VerdictReached] = {}
        self.actions: list[e.OperatorActed] = []
        """By the log's order, dated by its time."""
        self.deployments: list[tuple[int, int, e.DeploymentChanged]] = []
        self._parts: tuple[Any, ...] | None = None
        self._training: list[e.Event] = []
        self._decisions: list[e.Event] = []
        self.waking: list[Callable[[], None]] = []
        self.followers: list[Callable[[Fact], None]] = []

    def take(self, fact: Fact) -> None:
        """The next record of its topic."""
        event = fact.event
        self.next[event.topic] = fact.offset + 1
        if event.event_id not in self.ids:
            self._parts = None
            self.ids.add(event.event_id)
            self._keep(event, fact)
        for follow in self.followers:
            follow(fact)
        for wake in self.waking:
            wake()

    def _keep(self, event: e.Event, fact: Fact) -> None:
        match event:
            case e.TrainingEvent():
                if isinstance(event, e.TrainingRequested):
                    self.requests.append(event)
                self.attempts.setdefault((event.run_id, event.attempt), []).append(fact)
                self._training.append(event)
            case e.DeploymentChanged():
                self.deployments.append((event.revision, fact.offset, event))
            case e.OperatorActed():
                self.actions.append(event.model_copy(update={"occurred_at": recorded(fact)}))
            case e.ExperimentOpened():
                self.experiments.append(event)
                self._decisions.append(event)
            case e.ShareRaised():
                self.shares[event.experiment_id] = max(event.share, self.shares.get(event.experiment_id, 0.0))
            case e.VerdictReached():
                self.verdicts.setdefault(event.experiment_id, event)
                self._decisions.append(event)
            case _:
                raise TypeError(f"the simulation knows no {event.type}")

    def lags(self, log: Log) -> list[str]:
        """Topics of which it has not taken everything."""
        return [topic for topic, facts in log.topics.items() if self.next[topic] < len(facts)]

    def pending(self, event_id: UUID) -> bool:
        return event_id not in self.ids

    # --- what the loop asks -----------------------------------------------------------------------------------------

    def answer(self, query: Callable[..., Any], *arguments: Any) -> Any:
        """What `query` on the real ledger would say; what is written for this one is called with it."""
        if query is loop_state:
            return self.loop_state(*arguments)
        if query is interventions:
            return self.interventions()
        if query is adapter_records:
            return self.adapter_records()
        if query is recent_latency:
            return RecentLatency(0, 0.0)
        return query(self, *arguments)

    def loop_state(self, as_of: datetime) -> LoopState:
        """As `csqa_loop.rollout.state.loop_state`."""
        if self._parts is None:
            self._parts = self.deployment(), self.run(), self.experiment(), self.interventions()
        deployment, run, experiment, operators = self._parts
        return LoopState(deployment, run, experiment, as_of, operators)

    def deployment(self) -> e.DeploymentChanged | None:
        return max(self.deployments, key=lambda row: row[:2])[2] if self.deployments else None

    def run(self) -> Run | None:
        if not self.requests:
            return None
        request = self.requests[-1]
        facts = self.attempts[request.run_id, request.attempt]
        said = {type(fact.event): fact.event.model_copy(update={"occurred_at": recorded(fact)}) for fact in facts}
        failures = [fact for fact in facts if isinstance(fact.event, e.TrainingFailed)]
        failed = max(reversed(failures), key=lambda fact: fact.event.final, default=None)
        return Run(
            request=request,
            last_sign=max(recorded(fact) for fact in facts),
            progress=said.get(e.TrainingProgress),
            trained=said.get(e.AdapterTrained),
            failed=failed.event.model_copy(update={"occurred_at": recorded(failed)}) if failed else None,
            evaluated=said.get(e.AdapterEvaluated),
            unservable=said.get(e.AdapterUnservable),
        )

    def experiment(self) -> Experiment | None:
        if not self.experiments:
            return None
        opened = self.experiments[-1]
        name = opened.experiment_id
        return Experiment(opened, max(opened.share, self.shares.get(name, 0.0)), self.verdicts.get(name))

    def interventions(self) -> Interventions:
        latest = {_PAUSES[action.action]: action for action in self.actions}
        switched = latest.get("pause")
        return Interventions(
            paused=switched if switched and switched.action == "pause" else None,
            stop=latest.get("stop"),
            order=latest.get("order"),
            last_at=self.actions[-1].occurred_at if self.actions else None,
        )

    def adapter_records(self) -> tuple[list[AdapterRecord], list[str]]:
        deployed = [event for *_, event in sorted(self.deployments, key=lambda row: row[:2])]
        training = [event for event in self._training if isinstance(event, _HISTORY)]
        return adapter_history([*training, *self._decisions, *deployed]), [event.champion for event in deployed]

    # --- what the planner asks ----------------------------------------------------------------------------------------

    def run_states(self) -> dict[str, RunState]:
        """As `csqa_loop.training.runs.run_states`."""
        last: dict[str, int] = {}
        for run_id, attempt in self.attempts:
            last[run_id] = max(attempt, last.get(run_id, 0))
        states: dict[str, RunState] = {}
        for run_id, attempt in last.items():
            said = {type(fact.event): fact.event for fact in self.attempts[run_id, attempt]}
            evaluated, progress = said.get(e.AdapterEvaluated), said.get(e.TrainingProgress)
            states[run_id] = state_of(
                unservable=e.AdapterUnservable in said,
                passed=evaluated.passed if evaluated else None,
                failed=e.TrainingFailed in said,
                trained=e.AdapterTrained in said,
                stage=progress.stage if progress else None,
            )
        return states

    def claimed(self) -> set[str]:
        """Pairs that a run has; one that failed gave them back."""
        states = self.run_states()
        return {pair for request in self.requests if states[request.run_id] != "failed" for pair in request.pair_ids}


def replayed(log: Log) -> MemoryLedger:
    """A fresh ledger that read the log, a topic after the other."""
    ledger = MemoryLedger()
    for topic in reversed(TOPICS):
        for fact in log.topics[topic]:
            ledger.take(fact)
    return ledger


def horizon(ledger: MemoryLedger, log: Log, now: datetime) -> datetime:
    """The moment up to which the log has been taken, as `csqa_loop.ledger.position.Position.horizon`."""
    moment = now
    for topic in ledger.lags(log):
        taken = ledger.next[topic]
        moment = min(moment, log.topics[topic][taken - 1].stamp if taken else now - timedelta(days=365))
    return moment
