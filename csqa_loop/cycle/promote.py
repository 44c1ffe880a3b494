"""Deployments and the adapters that every replica must hold for them."""

import asyncio
import logging
import math
from datetime import datetime

from csqa_loop.cycle.ports import ModelServer
from csqa_loop.domain.errors import CsqaError
from csqa_loop.domain.events import BASE, ChatMessage, DeploymentChanged, Sampling, derived_id
from csqa_loop.domain.rollout import Deploy, resident_adapters

_log = logging.getLogger(__name__)
_PROBE = (ChatMessage(role="user", content="What can you help me with?"),)
_PROBE_SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_tokens=8)


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
    """Makes every replica hold what the deployment needs, and nothing else of ours. Run at a beat and after each change."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self.resident: dict[str, frozenset[str]] = {}
        """Replica -> names it serves, as last seen."""
        self._answering: set[tuple[str, str]] = set()
        """(replica, adapter) that answered a probe since the adapter was loaded there."""

    async def reconcile(self, deployment: DeploymentChanged, now: datetime) -> None:
        """One pass. A replica that refuses or is away is told in the log and tried again at the next beat."""
        wanted = resident_adapters(deployment, now)
        held = await self._server.resident()
        changed = await asyncio.gather(*(self._align(replica, names, wanted) for replica, names in held.items()))
        self.resident = await self._server.resident() if any(changed) else held
        present = {(replica, name) for replica, names in self.resident.items() for name in names & wanted if name != BASE}
        # A replica that restarted, or was given the adapter again, has to show once more that it can speak.
        self._answering &= {(replica, name) for replica, names in held.items() for name in names} & present
        await asyncio.gather(*(self._probe(replica, adapter) for replica, adapter in sorted(present - self._answering)))

    async def _align(self, replica: str, names: frozenset[str], wanted: frozenset[str]) -> bool:
        """Whether there was anything to do."""
        surplus, missing = sorted(name for name in names - wanted if name.startswith("a-")), sorted(wanted - names)
        for adapter in surplus:
            await self._attempt("unload", replica, adapter)
        for adapter in missing:
            await self._attempt("load", replica, adapter)
        return bool(surplus or missing)

    async def _attempt(self, action: str, replica: str, adapter: str) -> None:
        try:
            await (self._server.load(replica, adapter) if action == "load" else self._server.unload(replica, adapter))
            _log.info("%s: %s %s", replica, action, adapter)
        except CsqaError as error:
            _log.warning("%s: cannot %s %s: %s", replica, action, adapter, error)

    async def _probe(self, replica: str, adapter: str) -> None:
        try:
            said = await self._server.probe(replica, adapter, _PROBE, _PROBE_SAMPLING)
        except CsqaError as error:
            _log.warning("%s: no traffic for %s, which did not answer a probe: %s", replica, adapter, error)
            return
        if said.text.strip() and all(map(math.isfinite, said.logprobs)):
            self._answering.add((replica, adapter))
        else:
            _log.warning("%s: no traffic for %s, which answered a probe with %r", replica, adapter, said.text)

    def holds_everywhere(self, adapter: str) -> bool:
        """Whether every replica that answers serves the adapter and answered a probe with it, and at least one answers."""
        return bool(self.resident) and all(
            adapter in names and (adapter == BASE or (replica, adapter) in self._answering) for replica, names in self.resident.items()
        )

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
