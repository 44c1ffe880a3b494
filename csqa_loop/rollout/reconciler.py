"""Deployments and the adapters that every replica must hold for them."""

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress
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
_LOOK_SECONDS = 0.5
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

    def __init__(self, server: ModelServer, fault: Callable[[str], str] = lambda _: "") -> None:
        """`fault`: what is wrong with an adapter's folder, empty where nothing is. What is damaged on the disk is not loaded again."""
        self._server = server
        self._fault = fault
        self._revision = 0
        self._needed: frozenset[str] = frozenset()
        self._now = datetime.min.replace(tzinfo=UTC)
        self._passes: dict[str, tuple[asyncio.Task[None], float]] = {}
        """Replica -> its pass under way, and when that began."""
        self._served: dict[str, frozenset[str] | None] = {}
        """Replica -> names it serves, as last seen; None where it did not answer."""
        self._answering: set[tuple[str, str]] = set()
        """(replica, adapter) that answered a probe since the adapter was loaded there."""
        self._troubles: dict[tuple[str, str], Trouble] = {}
        self._gained = asyncio.Event()

    @property
    def resident(self) -> dict[str, frozenset[str]]:
        """Replica -> names it serves, of those that answer."""
        return {replica: names for replica, names in self._served.items() if names is not None}

    @property
    def troubles(self) -> list[Trouble]:
        """What replicas that answer cannot serve although the deployment needs it."""
        return [self._troubles[key] for key in sorted(self._troubles)]

    async def gained(self) -> None:
        """Return once a replica has come to serve an adapter since the last `begin`, or has come or gone: there is something to do."""
        live = set(self._server.live)
        while not self._gained.is_set() and set(self._server.live) == live:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gained.wait(), _LOOK_SECONDS)

    async def reconcile(self, deployment: DeploymentChanged, now: datetime, *, patience: float = _PATIENCE_SECONDS) -> None:
        """Begin a pass and wait for it, though not for replicas that take longer than `patience` (seconds)."""
        self.begin(deployment, now)
        await self.settle(patience)

    def begin(self, deployment: DeploymentChanged, now: datetime) -> None:
        """Start a pass on every replica that has none under way; this does not wait for it.

        Raises:
            Exception: an unforeseen error of an earlier pass.
        """
        self._collect()
        self._gained.clear()
        if deployment.revision >= self._revision:  # the console may ask with what was in force a moment ago
            self._revision, self._needed = deployment.revision, resident_adapters(deployment, now)
        self._now = now
        for key in [key for key in self._troubles if key[1] not in self._needed]:
            del self._troubles[key]
        live = self._server.live
        for replica in [replica for replica in self._served if replica not in live]:
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
            needed = self._needed
            if not await self._look(replica):
                return
            served = self._served[replica] or frozenset()
            surplus, missing = sorted(name for name in served - needed if name.startswith("a-")), sorted(needed - served)
            for adapter in surplus:
                await self._unload(replica, adapter)
            for adapter in missing:
                await self._load(replica, adapter)
            if (surplus or missing) and not await self._look(replica):
                return
            present = (self._served[replica] or frozenset()) & needed
            await asyncio.gather(*(self._probe(replica, name) for name in sorted(present) if (replica, name) not in self._answering))
            if self._needed == needed:
                return

    async def _look(self, replica: str) -> bool:
        """Whether the replica answers."""
        names = await self._server.serves(replica)
        if names is None:
            self._lost(replica)
            return False
        self._served[replica] = names
        # A replica that restarted, or was given the adapter again, has to answer a probe once more.
        self._answering -= {(where, name) for where, name in self._answering if where == replica and name not in names}
        return True

    def _lost(self, replica: str) -> None:
        """Note that the replica does not answer: an outage, which speaks against no adapter."""
        self._served[replica] = None
        self._answering -= {key for key in self._answering if key[0] == replica}
        for key in [key for key in self._troubles if key[0] == replica]:
            del self._troubles[key]

    async def _unload(self, replica: str, adapter: str) -> None:
        if adapter in self._needed:
            return  # wanted again since this pass began
        # Before it is gone: from now on no traffic may be routed to it.
        self._served[replica] = (self._served[replica] or frozenset()) - {adapter}
        self._answering.discard((replica, adapter))
        try:
            await self._server.unload(replica, adapter)
            _log.info("%s: unload %s", replica, adapter)
        except CsqaError as error:
            _log.warning("%s: cannot unload %s: %s", replica, adapter, error)

    async def _load(self, replica: str, adapter: str) -> None:
        try:
            if fault := await asyncio.to_thread(self._fault, adapter):
                self._note(replica, adapter, f"is not given it: {fault}")
                return
            await self._server.load(replica, adapter)
            _log.info("%s: load %s", replica, adapter)
        except CsqaError as error:
            self._note(replica, adapter, f"cannot load it: {error}")

    async def _probe(self, replica: str, adapter: str) -> None:
        try:
            generation = await self._server.probe(replica, adapter, _PROBE, _PROBE_SAMPLING)
        except CsqaError as error:
            self._note(replica, adapter, f"did not answer a probe: {error}")
            return
        if generation.text.strip() and all(map(math.isfinite, generation.logprobs)):
            self._answering.add((replica, adapter))
            self._gained.set()
            self._troubles.pop((replica, adapter), None)
        else:
            self._note(replica, adapter, f"answered a probe with {generation.text!r}")

    def _note(self, replica: str, adapter: str, reason: str) -> None:
        before = self._troubles.get((replica, adapter))
        self._troubles[replica, adapter] = Trouble(replica, adapter, before.since if before else self._now, reason)
        _log.warning("%s: no traffic for %s: it %s", replica, adapter, reason)

    def holds_everywhere(self, adapter: str) -> bool:
        """Whether every replica that answers serves the adapter and answered a probe with it, and at least one answers."""
        all_known = all(replica in self._served for replica in self._server.live)
        return all_known and bool(self.resident) and all(self._holds(replica, adapter) for replica in self.resident)

    def holds_somewhere(self, adapter: str) -> bool:
        """Whether one replica serves the adapter and answered a probe with it."""
        return any(self._holds(replica, adapter) for replica in self.resident)

    def _holds(self, replica: str, adapter: str) -> bool:
        return adapter in self.resident[replica] and (adapter == BASE or (replica, adapter) in self._answering)

    def obstacle(self, adapter: str) -> Obstacle:
        """Why the adapter gets no traffic yet."""
        troubles = [trouble for trouble in self.troubles if trouble.adapter == adapter]
        if not troubles:
            return Obstacle(adapter, "it is being loaded" if self.resident else "no model server answers")
        reason = "; ".join(f"{trouble.replica} {trouble.reason}" for trouble in troubles)
        return Obstacle(adapter, reason, since=min(trouble.since for trouble in troubles))

    def disagreements(self, deployment: DeploymentChanged, now: datetime) -> list[tuple[str, str]]:
        """(replica, what it lacks or holds too much)."""
        needed = resident_adapters(deployment, now)
        disagreements = [] if self.resident else [("model servers", "none answers")]
        for replica, names in sorted(self.resident.items()):
            ours = {name for name in names if name.startswith("a-")}
            if ours != needed:
                disagreements.append((replica, f"holds {sorted(ours)}, wanted {sorted(needed)}"))
            mute = sorted(name for name in ours & needed if (replica, name) not in self._answering)
            if mute:
                disagreements.append((replica, f"did not answer a probe with {', '.join(mute)}"))
        return disagreements
