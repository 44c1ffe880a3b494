"""The trainer: results of the attempt in hand, sooner or later or never, and late ones of older attempts."""

import hashlib
from typing import TYPE_CHECKING, Any

from csqa_loop import events as e

if TYPE_CHECKING:
    from tests.simulation.world import World

_STAGES = ("progress", "trained", "evaluating", "evaluated")


class Trainer:
    """Reads requests from the log itself. What an attempt came to is kept: it is said again in the same bytes."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._kept: dict[tuple[str, int, str], e.Event] = {}
        self._stage: dict[tuple[str, int], int] = {}

    def requests(self) -> list[e.TrainingRequested]:
        """All, oldest first, each attempt once."""
        facts = self._world.log.topics[e.TrainingEvent.topic]
        found = {(event.run_id, event.attempt): event for event, *_ in facts if isinstance(event, e.TrainingRequested)}
        return list(found.values())

    def in_hand(self) -> e.TrainingRequested | None:
        """The attempt that it works on."""
        requests = self.requests()
        return requests[-1] if requests and not self.is_over(requests[-1]) else None

    def is_over(self, request: e.TrainingRequested) -> bool:
        """Whether it has said all that it will say of the attempt."""
        key = (request.run_id, request.attempt)
        return any((*key, kind) in self._kept for kind in ("evaluated", "failed"))

    def go_on(self, request: e.TrainingRequested, *, passes: bool = True) -> None:
        """The next thing there is to say of this attempt."""
        stage = self._stage.get((request.run_id, request.attempt), 0)
        if stage < len(_STAGES) and not self.is_over(request):
            self._stage[request.run_id, request.attempt] = stage + 1
            getattr(self, f"_{_STAGES[stage]}")(request, passes)

    def fail(self, request: e.TrainingRequested, *, final: bool) -> None:
        """The attempt has failed."""
        if not self.is_over(request):
            self._say("failed", e.TrainingFailed, request, stage="training", reason="out of memory", final=final)

    def repeat(self) -> bool:
        """A result comes once more; whether there is one."""
        if not self._kept:
            return False
        self._world.append(self._world.chance.choice(list(self._kept.values())))
        return True

    def adapter_of(self, request: e.TrainingRequested) -> str:
        """Named by content: often the same in each attempt of a run."""
        same = int(request.run_id[-1], 16) % 2
        content = f"{request.run_id} {'same' if same else request.attempt}"
        return "a-" + hashlib.sha256(content.encode()).hexdigest()[:16]

    def _progress(self, request: e.TrainingRequested, passes: bool) -> None:
        self._say_progress(request, "training")

    def _evaluating(self, request: e.TrainingRequested, passes: bool) -> None:
        self._say_progress(request, "evaluating")

    def _say_progress(self, request: e.TrainingRequested, stage: str) -> None:
        self._world.append(e.TrainingProgress.model_validate(self._told(request) | {"stage": stage}))

    def _trained(self, request: e.TrainingRequested, passes: bool) -> None:
        parent, hashes = request.champion, {"recipe_hash": "x", "data_hash": request.data_hash}
        self._say("trained", e.AdapterTrained, request, adapter=self.adapter_of(request), parent=parent, pairs=2, seconds=1.0, **hashes)

    def _evaluated(self, request: e.TrainingRequested, passes: bool) -> None:
        deployments = [event for event, *_ in self._world.log.topics[e.DeploymentChanged.topic]]
        champion = deployments[-1].champion if deployments else e.BASE
        self._say("evaluated", e.AdapterEvaluated, request, adapter=self.adapter_of(request), champion=champion, passed=passes)

    def _say(self, name: str, kind: type[e.Event], request: e.TrainingRequested, **fields: Any) -> None:
        event = kind.model_validate(self._told(request) | fields)
        self._kept[request.run_id, request.attempt, name] = event
        self._world.append(event)

    def _told(self, request: e.TrainingRequested) -> dict[str, Any]:
        world = self._world
        return {"event_id": world.new_id(), "occurred_at": world.now(), "run_id": request.run_id, "attempt": request.attempt}
