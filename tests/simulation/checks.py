"""What must hold of every fact: judged when the loop first tries to publish it, by what its ledger holds, and when it is in the log."""

from typing import TYPE_CHECKING
from uuid import UUID

from csqa_loop import events as e
from csqa_loop.gateway.deployment import CurrentDeployment
from tests.simulation.ledger import MemoryLedger, recorded, replayed

if TYPE_CHECKING:
    from tests.simulation.world import World

_RESULTS = (e.AdapterEvaluated, e.TrainingFailed, e.AdapterUnservable)


class Checks:
    """The invariants. They read the log and the truth about replicas, and share no rule with the code that they judge."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._attempted: dict[UUID, e.Event] = {}
        self._written: dict[UUID, e.Event] = {}
        self._deployed: e.DeploymentChanged | None = None

    def _fail(self, text: str) -> None:
        self._world.violation(text)

    # --- in the log --------------------------------------------------------------------------------------------------

    def written(self, event: e.Event) -> None:
        """A record comes into the log."""
        if known := self._written.get(event.event_id):
            if known != event:
                self._fail(f"{event.type} {event.event_id} is published twice with different bodies")
            return
        self._written[event.event_id] = event
        if isinstance(event, e.DeploymentChanged):
            expected = self._deployed.revision + 1 if self._deployed else 1
            if event.revision != expected:
                self._fail(f"revision {event.revision} follows on {expected - 1}")
            self._deployed = event
        if isinstance(event, e.VerdictReached):
            others = [fact for fact in self._of(e.VerdictReached) if fact.experiment_id == event.experiment_id]
            if others:
                self._fail(f"{event.experiment_id} has two verdicts")

    # --- decided by the loop -----------------------------------------------------------------------------------------

    def attempted(self, event: e.Event) -> None:
        """A process is about to publish it."""
        if event.event_id in self._attempted:
            return
        self._attempted[event.event_id] = event
        ledger = self._world.ledger
        match event:
            case e.DeploymentChanged():
                self._deployment(event, ledger)
            case e.ExperimentOpened():
                self._opening(event, ledger)
            case e.ShareRaised():
                if ledger.interventions().paused:
                    self._fail(f"the share of {event.experiment_id} is raised in a pause")
            case e.VerdictReached():
                if event.verdict == "PROMOTE" and ledger.interventions().paused:
                    self._fail(f"{event.experiment_id} promotes in a pause")
                if event.experiment_id in ledger.verdicts:
                    self._fail(f"{event.experiment_id} is judged twice")
            case e.TrainingRequested():
                self._request(event, ledger)
            case _:
                pass

    def _request(self, event: e.TrainingRequested, ledger: MemoryLedger) -> None:
        if event.attempt > 1:
            # By what the decision rests on: a result may have come since.
            state = self._world.decision_state
            run = state.run if state else None
            if run is None or (run.request.run_id, run.request.attempt) != (event.run_id, event.attempt - 1):
                self._fail(f"attempt {event.attempt} of {event.run_id} follows on none")
            elif run.evaluated:
                self._fail(f"{event.run_id} is tried again although the gate has judged attempt {event.attempt - 1}")
            return
        if ledger.interventions().paused:
            self._fail(f"{event.run_id} is claimed in a pause")
        if ledger.requests:
            last = ledger.requests[-1]
            if not any(isinstance(fact.event, _RESULTS) for fact in ledger.attempts[last.run_id, last.attempt]):
                self._fail(f"{event.run_id} is claimed while {last.run_id} attempt {last.attempt} is under way")
        deployment, experiment = ledger.deployment(), ledger.experiment()
        if (experiment and not experiment.verdict) or (deployment and deployment.experiment):
            self._fail(f"{event.run_id} is claimed while an experiment is open or its verdict is not deployed")

    def _opening(self, event: e.ExperimentOpened, ledger: MemoryLedger) -> None:
        name = event.experiment_id
        if ledger.interventions().paused:
            self._fail(f"{name} opens in a pause")
        if any(opened.experiment_id not in ledger.verdicts for opened in ledger.experiments):
            self._fail(f"{name} opens while another experiment is open")
        last = ledger.requests[-1] if ledger.requests else None
        if last is None or last.run_id != event.run_id:
            self._fail(f"{name} opens for a run that is not the last one")
            return
        said = [fact.event for fact in ledger.attempts[last.run_id, last.attempt]]
        gates = [fact for fact in said if isinstance(fact, e.AdapterEvaluated)]
        if not gates or not gates[-1].passed or gates[-1].adapter != event.challenger:
            self._fail(f"{name} opens without a passed gate of attempt {last.attempt}")
        if any(isinstance(fact, e.AdapterUnservable) for fact in said):
            self._fail(f"{name} opens for an adapter that was given up")
        self._resident(event.challenger, name)

    def _deployment(self, event: e.DeploymentChanged, ledger: MemoryLedger) -> None:
        before = ledger.deployment()
        name = f"revision {event.revision}"
        order = self._order_of(event, before, ledger)
        was = before.champion if before else e.BASE
        if event.champion != was:
            if event.champion != e.BASE:
                self._resident(event.champion, name, one_is_enough=order is not None and order.action == "rollback")
            if order is None:
                self._promotion(event, before, ledger)
                self._returns(event.champion, name, ledger)
            elif order.target != event.champion:
                self._fail(f"{name} carries out an order for {order.target} with {event.champion}")
        grown = event.challenger and (before is None or before.challenger != event.challenger or event.share > before.share)
        if grown and event.challenger:
            self._resident(event.challenger, name)
            self._returns(event.challenger, name, ledger)
            experiment = ledger.experiment()
            if experiment is None or experiment.verdict or experiment.opened.experiment_id != event.experiment:
                self._fail(f"{name} shows customers {event.challenger} outside an open experiment")
            elif experiment.opened.challenger != event.challenger or experiment.opened.champion != event.champion:
                self._fail(f"{name} shows other adapters than {event.experiment} opened for")
            if ledger.interventions().paused:
                self._fail(f"{name} gives {event.challenger} more traffic in a pause")
            self._stopped(event.experiment, name, ledger)
        self._candidate(event, before, ledger)

    def _order_of(self, event: e.DeploymentChanged, before: e.DeploymentChanged | None, ledger: MemoryLedger) -> e.OperatorActed | None:
        """The order that this deployment carries out; None: none that was not carried out before."""
        if event.order == (before.order if before else None):
            return None
        orders = [action for action in ledger.actions if action.action in {"promote", "rollback"}]
        if not orders or event.order != orders[-1].event_id:
            self._fail(f"revision {event.revision} names an order that is not the last one")
            return None
        order = orders[-1]
        if order.target != event.champion and not event.cause.startswith("given up: "):
            self._fail(f"revision {event.revision} drops the order for {order.target} without saying so")
        if order.target != event.champion and (before is None or before.champion != event.champion):
            self._fail(f"revision {event.revision} gives an order up and changes the champion all the same")
        return order if order.target == event.champion else None

    def _promotion(self, event: e.DeploymentChanged, before: e.DeploymentChanged | None, ledger: MemoryLedger) -> None:
        name = f"revision {event.revision}"
        if before is None:
            return
        experiment = ledger.experiment()
        won = experiment and experiment.verdict and experiment.verdict.verdict == "PROMOTE"
        if experiment is None or not won or experiment.opened.challenger != event.champion:
            self._fail(f"{name} makes {event.champion} champion without a verdict or an order")
            return
        if ledger.interventions().paused:
            self._fail(f"{name} promotes {event.champion} in a pause")
        self._stopped(experiment.opened.experiment_id, name, ledger)

    def _stopped(self, experiment_id: str | None, name: str, ledger: MemoryLedger) -> None:
        if any(action.action == "stop" and action.experiment_id == experiment_id for action in ledger.actions):
            self._fail(f"{name} gives traffic to the challenger of {experiment_id}, which an operator stopped")

    def _returns(self, adapter: str, name: str, ledger: MemoryLedger) -> None:
        """What an order overtook does not come back by itself."""
        orders = [action for action in ledger.actions if action.action in {"promote", "rollback"}]
        if not orders:
            return
        facts = [fact for said in ledger.attempts.values() for fact in said]
        gates = [recorded(fact) for fact in facts if isinstance(fact.event, e.AdapterEvaluated) and fact.event.adapter == adapter]
        if max(gates, default=orders[-1].occurred_at) <= orders[-1].occurred_at:
            self._fail(f"{name} brings {adapter} back by itself after {orders[-1].action} to {orders[-1].target}")

    def _candidate(self, event: e.DeploymentChanged, before: e.DeploymentChanged | None, ledger: MemoryLedger) -> None:
        """Only the current attempt's adapter, or an ordered one, is made resident."""
        if event.candidate is None or (before and before.candidate == event.candidate):
            return
        last = ledger.requests[-1] if ledger.requests else None
        said = [fact.event for fact in ledger.attempts[last.run_id, last.attempt]] if last else []
        known = {fact.adapter for fact in said if isinstance(fact, e.AdapterTrained | e.AdapterEvaluated)}
        known |= {action.target for action in ledger.actions}
        if event.candidate not in known:
            self._fail(f"revision {event.revision} loads {event.candidate}, of an attempt that no longer counts")

    def _resident(self, adapter: str, name: str, *, one_is_enough: bool = False) -> None:
        world = self._world
        replicas = world.replicas.values()
        lacking = [replica.url for replica in replicas if adapter not in replica.probed and not replica.hides_a_loss(world.decision_tick)]
        if one_is_enough and len(lacking) == len(replicas):
            self._fail(f"{name} goes back to {adapter}, with which no replica answered a probe")
        if not one_is_enough and (answering := [url for url in lacking if world.replicas[url].up]):
            self._fail(f"{name} gives {adapter} traffic, and {', '.join(answering)} never answered a probe with it")

    # --- in the end ----------------------------------------------------------------------------------------------------

    def replay(self) -> None:
        """A fresh ledger that reads the log comes to the same state, and so does a gateway."""
        world = self._world
        live, fresh = world.ledger, replayed(world.log)
        if live.loop_state(world.now()) != fresh.loop_state(world.now()) or live.adapter_records() != fresh.adapter_records():
            self._fail("a replay of the log gives another state")
        gateway = CurrentDeployment()
        for fact in world.log.topics[e.DeploymentChanged.topic]:
            gateway.apply(fact.record)  # type: ignore[arg-type]
        if gateway.current != live.deployment():
            self._fail("a gateway serves another deployment than the ledger holds")

    def orders(self) -> None:
        """Each was carried out, given up by name, or overtaken by a later one."""
        ledger = self._world.ledger
        deployed = {event.order for *_, event in ledger.deployments}
        orders = [action for action in ledger.actions if action.action in {"promote", "rollback"}]
        if orders and orders[-1].event_id not in deployed:
            self._fail(f"the order {orders[-1].action} {orders[-1].target} is lost")
        for action in ledger.actions:
            if action.action == "stop" and action.experiment_id not in ledger.verdicts:
                self._fail(f"the stop of {action.experiment_id} is lost")

    def _of(self, kind: type[e.VerdictReached]) -> list[e.VerdictReached]:
        return [event for event, *_ in self._world.log.topics[kind.topic] if isinstance(event, kind)]
