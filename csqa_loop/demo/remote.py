"""What the demo reads of the services, over HTTP only. A service that is being restarted is waited for, within a bound."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx

from csqa_loop.console.answers import Serving, Status
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.http.bearer import bearer

_POLL_SECONDS = 1.0


class Running(Status):
    """The status of a loop that serves something."""

    deployment: Serving


class Services:
    """Console, gateway and model servers, as an outsider sees them."""

    def __init__(
        self,
        console: httpx.AsyncClient,
        gateway: httpx.AsyncClient,
        model_servers: tuple[httpx.AsyncClient, ...],
        *,
        operator_key: str,
        outage_seconds: float = 180.0,
        poll_seconds: float = _POLL_SECONDS,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._console = console
        self._gateway = gateway
        self._model_servers = model_servers
        self._headers = bearer(operator_key)
        self._outage_seconds = outage_seconds
        self._poll_seconds = poll_seconds
        self._alive = alive
        """Raises where `csqa up` has ended: no service will answer any more."""

    async def status(self) -> Running:
        """The console's status, of a loop that has caught up with the log.

        Raises:
            TransientError: no loop that has caught up within the bound.
            PermanentError: the console refused the key.
        """
        deadline = time.monotonic() + self._outage_seconds
        while True:
            try:
                response = await self._console.get("/v1/status", headers=self._headers)
            except httpx.TransportError as error:
                trouble = f"no answer ({type(error).__name__})"
            else:
                if response.status_code == 200:
                    status = Status.model_validate_json(response.content)
                    if status.caught_up and status.deployment:
                        return Running.model_validate(status)
                    trouble = "it is still catching up with the log"
                elif response.status_code in {401, 403}:
                    raise PermanentError(
                        f"the console at {self._console.base_url} refused the operator key; is another `csqa up` listening there?"
                    )
                else:
                    trouble = f"status {response.status_code}"
            await self._pause(
                deadline, f"the loop at {self._console.base_url} was not available for {self._outage_seconds:.0f} s: {trouble}"
            )

    async def until(
        self, holds: Callable[[Running], bool], *, seconds: float, goal: str, on_status: Callable[[Running], None] = lambda _: None
    ) -> Running:
        """The first status for which `holds`; every status on the way goes to `on_status`.

        Raises:
            TransientError: not within `seconds`; says what was waited for.
        """
        deadline = time.monotonic() + seconds
        while True:
            status = await self.status()
            on_status(status)
            if holds(status):
                return status
            await self._pause(deadline, f"waited {seconds:.0f} s for {goal}; last state: {_brief(status)}")

    async def gateway_ready(self, *, seconds: float, revision: int | None = None, index_version: str | None = None) -> dict[str, Any]:
        """What the gateway says when it is ready and, if asked, serves deployment `revision` or newer and knows `index_version`.

        Raises:
            TransientError: not within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                response = await self._gateway.get("/ready")
                readiness: dict[str, Any] = response.json()
            except (httpx.TransportError, ValueError) as error:
                trouble = f"no answer ({type(error).__name__})"
            else:
                trouble = (
                    f"missing: {readiness.get('missing')}"
                    if response.status_code != 200
                    else f"it serves revision {readiness.get('deployment')}"
                )
                newest = revision is None or (readiness.get("deployment") or 0) >= revision
                indexed = index_version is None or readiness.get("index_version") == index_version
                if response.status_code == 200 and newest and indexed:
                    return readiness
            await self._pause(deadline, f"the gateway at {self._gateway.base_url} was not ready within {seconds:.0f} s: {trouble}")

    async def resident_adapters(self) -> tuple[str, ...]:
        """Adapters that every vLLM replica lists under GET /v1/models.

        Raises:
            TransientError: a replica does not answer within the bound.
        """
        listed = [await self._models(replica) for replica in self._model_servers]
        return tuple(sorted(frozenset.intersection(*listed))) if listed else ()

    async def _models(self, replica: httpx.AsyncClient) -> frozenset[str]:
        deadline = time.monotonic() + self._outage_seconds
        while True:
            try:
                response = await replica.get("/v1/models")
                if response.status_code == 200:
                    return frozenset(str(model["id"]) for model in response.json()["data"]) - {"base"}
                trouble = f"status {response.status_code}"
            except httpx.TransportError as error:
                trouble = type(error).__name__
            await self._pause(deadline, f"vLLM at {replica.base_url} did not list its models for {self._outage_seconds:.0f} s ({trouble})")

    async def _pause(self, deadline: float, late: str) -> None:
        self._alive()
        if time.monotonic() + self._poll_seconds > deadline:
            raise TransientError(late)
        await asyncio.sleep(self._poll_seconds)


def _brief(status: Running) -> str:
    parts = [f"champion {status.deployment.champion}", f"busy {status.busy}"]
    if run := status.run:
        parts.append(f"run {run.run_id} {run.state} (attempt {run.attempt})")
    if experiment := status.experiment:
        parts.append(f"experiment {experiment.id} {experiment.verdict}")
    return ", ".join(parts)
