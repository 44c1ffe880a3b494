"""Every adapter that was ever trained here, with a version that a person can remember and what became of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from csqa_loop.events import (
    BASE,
    AdapterEvaluated,
    AdapterTrained,
    AdapterUnservable,
    DeploymentChanged,
    Event,
    ExperimentOpened,
    VerdictReached,
)

AdapterState = Literal["champion", "previous", "resident", "retired"]


@dataclass(frozen=True)
class AdapterRecord:
    """One adapter. `version` counts in the order of training: v1.0, v1.1; the base is v0."""

    version: str
    adapter: str
    state: AdapterState
    served: bool
    """Whether it ever was champion."""
    trained: AdapterTrained | None = None
    gate: AdapterEvaluated | None = None
    experiment: ExperimentOpened | None = None
    verdict: VerdictReached | None = None
    unservable: AdapterUnservable | None = None
    """Set where the loop gave it up after the gate had last passed it."""


def champions(deployments: Iterable[str]) -> tuple[str, ...]:
    """From the champions of successive revisions: the way that led to the present one, which comes last.

    A promotion goes one step on; a champion that was on the way already is a step back, and what came after it is forgotten. So rolling
    back twice goes back two steps, and never forth again.
    """
    way: list[str] = []
    for champion in deployments:
        way = way[: way.index(champion) + 1] if champion in way else [*way, champion]
    return tuple(way)


def adapter_history(events: Sequence[Event]) -> list[AdapterRecord]:
    """The base, then every adapter in the order in which it was first trained.

    Args:
        events: AdapterTrained, AdapterEvaluated, AdapterUnservable, ExperimentOpened, VerdictReached (each oldest first) and DeploymentChanged (by revision).
    """
    deployments = [event for event in events if isinstance(event, DeploymentChanged)]
    way = champions(deployment.champion for deployment in deployments)
    served = {deployment.champion for deployment in deployments}
    trained: dict[str, AdapterTrained] = {}
    for event in events:
        if isinstance(event, AdapterTrained):
            trained.setdefault(event.adapter, event)
    gates = {event.adapter: event for event in events if isinstance(event, AdapterEvaluated)}
    given_up = {event.adapter: event for event in events if isinstance(event, AdapterUnservable)}
    experiments = {event.challenger: event for event in events if isinstance(event, ExperimentOpened)}
    # The first verdict of an experiment is the one that counts.
    verdicts = {event.experiment_id: event for event in reversed(events) if isinstance(event, VerdictReached)}

    def state(adapter: str) -> AdapterState:
        if adapter in way[-1:]:
            return "champion"
        if adapter in way[-2:]:
            return "previous"
        resident = deployments and adapter in {BASE, deployments[-1].challenger, deployments[-1].candidate}
        return "resident" if resident else "retired"

    def unservable(adapter: str) -> AdapterUnservable | None:
        last, gate = given_up.get(adapter), gates.get(adapter)
        # Trained and judged again since, it may be served.
        return last if last and gate and (last.run_id, last.attempt) == (gate.run_id, gate.attempt) else None

    records = [AdapterRecord("v0", BASE, state(BASE), BASE in served)]
    for number, (adapter, event) in enumerate(trained.items()):
        experiment = experiments.get(adapter)
        verdict = verdicts.get(experiment.experiment_id) if experiment else None
        records.append(
            AdapterRecord(
                f"v1.{number}",
                adapter,
                state(adapter),
                adapter in served,
                event,
                gates.get(adapter),
                experiment,
                verdict,
                unservable(adapter),
            )
        )
    return records
