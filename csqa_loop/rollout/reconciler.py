"""Deployments and the adapters that every replica must hold for them."""

import asyncio
import logging
import math
from datetime import UTC, datetime

from csqa_loop.answering.model.server import ModelServer
from csqa_loop.errors import CsqaError
from csqa_loop.events import BASE, ChatMessage, DeploymentChanged, Sampling, derived_id
from csqa_loop.rollout.rules.residency import resident_adapters
from csqa_loop.rollout.rules.steps import Deploy
from csqa_loop.rollout.rules.unservable import Obstacle, Trouble

_log = logging.getLogger(__name__)
_PROBE = (ChatMessage(role="user", content="What can you help me with?"),)
_PROBE_SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_tokens=8)
_PATIENCE_SECONDS = 0.3
"""A replica that is well lists what it holds, and loads and probes a small adapter, in less. The next beat sees what took longer."""


def deployment_after(current: DeploymentChanged | None, step: Deploy, now: datetime) -> DeploymentChanged:
    """The next revision."""
    revision = current.revision + 1 if current else 1
    return DeploymentChanged(
        event_id=derived_id("default", "DeploymentChanged", revision),
        occurred_at=now,
        revision=revision,
        champion=step.champion,
        challenger=step.challenger,
        candidate=step.candidate,
        share=step.share,
        salt=step.salt,
        experiment=step.experiment,
        previous_champion=step.previous_champion,
        cause=step.cause,
        order=step.order or (current.order if current else None),
    )


class Reconciler:
    """Makes every replica hold what the deployment needs, and nothing else of ours.

    Every replica has passes of its own, in the background: one that hangs holds up neither the others nor a decision. What is said of
    residency is as of the last pass that came to an end.
    """

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._revision = 0
        self._wanted: frozenset[str] = frozenset()
        self._now = datetime.min.replace(tzinfo=UTC)
        self._passes: dict[str, tuple[asyncio.Task[None], float]] = {}
        """Replica -> its pass under way, and when that began."""
        self._seen: dict[str, frozenset[str] | None] = {}
        """Replica -> names it serves, as last seen; None where it did not answer."""
        self._answering: set[tuple[str, str]] = set()
        """(replica, adapter) that answered a probe since the adapter was loaded there."""
        self._troubles: dict[tuple[str, str], Trouble] = {}
        self._gained = asyncio.Event()

    @property
    def resident(self) -> dict[str, frozenset[str]]:
        """Replica -> names it serves, of those that answer."""
        return {replica: names for replica, names in self._seen.items() if names is not None}

    @property
    def troubles(self) -> list[Trouble]:
        """What replicas that answer cannot serve although the deployment needs it."""
        return [self._troubles[key] for key in sorted(self._troubles)]

    async def gained(self) -> None:
        """Return once a replica has come to serve an adapter since the last `begin`: what waits for it may be decided."""
        await self._gained.wait()

    async def reconcile(self, deployment: DeploymentChanged, now: datetime, *, patience: float = _PATIENCE_SECONDS) -> None:
        """Begin a pass and wait for it, though not for replicas that take longer than `patience` (seconds)."""
        self.begin(deployment, now)
        await self.settle(patience)

    def begin(self, deployment: DeploymentChanged, now: datetime) -> None:
        """Start a pass on every replica that has none under way; nobody waits for it here.

        Raises:
            Exception: what nobody foresaw in an earlier pass.
        """
        self._collect()
        self._gained.clear()
        if deployment.revision >= self._revision:  # the console may ask with what was in force a moment ago
            self._revision, self._wanted = deployment.revision, resident_adapters(deployment, now)
        self._now = now
        for key in [key for key in self._troubles if key[1] not in self._wanted]:
            del self._troubles[key]
        live = self._server.live
        for replica in [replica for replica in self._seen if replica not in live]:
            self._lost(replica)
        for replica in live:
            if replica not in self._passes:
                task = asyncio.create_task(self._pass(replica), name=f"reconcile {replica}")
                self._passes[replica] = task, asyncio.get_running_loop().time()

    async def settle(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Wait until the passes under way have ended, but for none that has taken `patience` (seconds).

        Raises:
            Exception: as `begin`.
        """
        now = asyncio.get_running_loop().time()
        young = {task: began for task, began in self._passes.values() if now - began < patience}
        if young:
            await asyncio.wait(young, timeout=max(young.values()) + patience - now)
        self._collect()

    def _collect(self) -> None:
        for replica, (task, _) in list(self._passes.items()):
            if task.done():
                del self._passes[replica]
                task.result()

    async def close(self) -> None:
        """End the passes under way."""
        tasks = [task for task, _ in self._passes.values()]
        self._passes.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass(self, replica: str) -> None:
        while True:
            wanted = self._wanted
            if not await self._look(replica):
                return
            held = self._seen[replica] or frozenset()
            surplus, missing = sorted(name for name in held - wanted if name.startswith("a-")), sorted(wanted - held)
            for adapter in surplus:
                await self._unload(replica, adapter)
            for adapter in missing:
                await self._load(replica, adapter)
            if (surplus or missing) and not await self._look(replica):
                return
            present = (self._seen[replica] or frozenset()) & wanted
            await asyncio.gather(*(self._probe(replica, name) for name in sorted(present) if (replica, name) not in self._answering))
            if self._wanted == wanted:
                return

    async def _look(self, replica: str) -> bool:
        """Whether the replica answers."""
        names = await self._server.serves(replica)
        if names is None:
            self._lost(replica)
            return False
        self._seen[replica] = names
        # A replica that restarted, or was given the adapter again, has to show once more that it can speak.
        self._answering -= {(where, name) for where, name in self._answering if where == replica and name not in names}
        return True

    def _lost(self, replica: str) -> None:
        """It does not answer: an outage, and nothing against an adapter."""
        self._seen[replica] = None
        self._answering -= {key for key in self._answering if key[0] == replica}
        for key in [key for key in self._troubles if key[0] == replica]:
            del self._troubles[key]

    async def _unload(self, replica: str, adapter: str) -> None:
        if adapter in self._wanted:
            return  # wanted again since this pass began
        # Before it is gone: nobody may promise traffic to it from now on.
        self._seen[replica] = (self._seen[replica] or frozenset()) - {adapter}
        self._answering.discard((replica, adapter))
        try:
            await self._server.unload(replica, adapter)
            _log.info("%s: unload %s", replica, adapter)
        except CsqaError as error:
            _log.warning("%s: cannot unload %s: %s", replica, adapter, error)

    async def _load(self, replica: str, adapter: str) -> None:
        try:
            await self._server.load(replica, adapter)
            _log.info("%s: load %s", replica, adapter)
        except CsqaError as error:
            self._note(replica, adapter, f"cannot load it: {error}")

    async def _probe(self, replica: str, adapter: str) -> None:
        try:
            said = await self._server.probe(replica, adapter, _PROBE, _PROBE_SAMPLING)
        except CsqaError as error:
            self._note(replica, adapter, f"did not answer a probe: {error}")
            return
        if said.text.strip() and all(map(math.isfinite, said.logprobs)):
            self._answering.add((replica, adapter))
            self._gained.set()
            self._troubles.pop((replica, adapter), None)
        else:
            self._note(replica, adapter, f"answered a probe with {said.text!r}")

    def _note(self, replica: str, adapter: str, reason: str) -> None:
        before = self._troubles.get((replica, adapter))
        self._troubles[replica, adapter] = Trouble(replica, adapter, before.since if before else self._now, reason)
        _log.warning("%s: no traffic for %s: it %s", replica, adapter, reason)

    def holds_everywhere(self, adapter: str) -> bool:
        """Whether every replica that answers serves the adapter and answered a probe with it, and at least one answers."""
        asked = all(replica in self._seen for replica in self._server.live)
        return asked and bool(self.resident) and all(self._holds(replica, adapter) for replica in self.resident)

    def holds_somewhere(self, adapter: str) -> bool:
        """Whether one replica serves the adapter and answered a probe with it."""
        return any(self._holds(replica, adapter) for replica in self.resident)

    def _holds(self, replica: str, adapter: str) -> bool:
        return adapter in self.resident[replica] and (adapter == BASE or (replica, adapter) in self._answering)

    def obstacle(self, adapter: str) -> Obstacle:
        """Why the adapter gets no traffic yet."""
        found = [trouble for trouble in self.troubles if trouble.adapter == adapter]
        if not found:
            return Obstacle(adapter, "it is being loaded" if self.resident else "no model server answers")
        reason = "; ".join(f"{trouble.replica} {trouble.reason}" for trouble in found)
        return Obstacle(adapter, reason, since=min(trouble.since for trouble in found))

    def disagreements(self, deployment: DeploymentChanged, now: datetime) -> list[tuple[str, str]]:
        """(replica, what it lacks or holds too much)."""
        wanted = resident_adapters(deployment, now)
        found = [] if self.resident else [("model servers", "none answers")]
        for replica, names in sorted(self.resident.items()):
            ours = {name for name in names if name.startswith("a-")}
            if ours != wanted:
                found.append((replica, f"holds {sorted(ours)}, wanted {sorted(wanted)}"))
            mute = sorted(name for name in ours & wanted if (replica, name) not in self._answering)
            if mute:
                found.append((replica, f"did not answer a probe with {', '.join(mute)}"))
        return found
