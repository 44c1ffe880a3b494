"""One vLLM replica as its callers know it: whether it answers, and which adapters it was seen to lack."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from csqa_loop.answering.model.http_pool import HttpPool

_log = logging.getLogger(__name__)
_PROBE_EVERY = 0.8
_PROBE_SECONDS = 1.6
_AGAIN_AFTER = 0.2
_STRIKES = 2
"""0.8 + 1.6 + 0.2 + 1.6 s: a request to a replica that hangs is given up within 5 s, and one slow probe on a busy machine has no effect."""
_MISSING_SECONDS = 1.0
"""How long a 404 is remembered. Short: the loop loads a missing adapter within its beat."""
_LIST_SECONDS = 3.0


class Replica:
    """Health and residency of one replica. `up` until probes say otherwise, so that it can be used without probing."""

    def __init__(self, url: str, client: httpx.AsyncClient, connections: int) -> None:
        self.url = url
        self.pool = HttpPool(url, connections)
        """For requests that generate; `client` is for short ones."""
        self._client = client
        self.up = True
        self.answered = False
        """Whether its last probe was answered."""
        self._missing: dict[str, float] = {}
        self._bounds: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def bound(self, seconds: float) -> AsyncIterator[None]:
        """Limit what happens inside to `seconds`, or to the moment when probes find the replica dead.

        Raises:
            TimeoutError: one of the two happened.
        """
        async with asyncio.timeout(max(seconds, 0.0)) as limit:
            self._bounds.add(limit)
            try:
                yield
            finally:
                self._bounds.discard(limit)

    def lacks(self, name: str) -> bool:
        """Whether the replica said a moment ago that it does not hold `name`."""
        until = self._missing.get(name)
        return until is not None and time.monotonic() < until

    def note_missing(self, name: str) -> None:
        """Remember that it answered 404 for `name`."""
        self._missing[name] = time.monotonic() + _MISSING_SECONDS

    def forget_missing(self, name: str) -> None:
        """Forget that it lacked `name`: it was loaded there."""
        self._missing.pop(name, None)

    async def models(self) -> frozenset[str] | None:
        """Names it can serve; None where it does not answer."""
        try:
            async with self.bound(_LIST_SECONDS):
                response = await self._client.get(f"{self.url}/v1/models", timeout=_LIST_SECONDS)
            return frozenset(model["id"] for model in response.raise_for_status().json()["data"])
        except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError):
            return None

    async def watch(self) -> None:
        """Probe until cancelled."""
        strikes = 0
        while True:
            self.answered = await self._healthy()
            strikes = 0 if self.answered else strikes + 1
            if strikes == 0 and not self.up:
                _log.info("model server %s answers again", self.url)
                self.up = True
            elif strikes >= _STRIKES and self.up:
                _log.warning("model server %s does not answer; it gets no requests until it does", self.url)
                self.up = False
                for limit in tuple(self._bounds):  # requests that wait for it now would wait in vain
                    if not limit.expired():
                        limit.reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(_AGAIN_AFTER if strikes == 1 else _PROBE_EVERY)

    async def _healthy(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return (await self._client.get(f"{self.url}/health", timeout=_PROBE_SECONDS)).status_code == httpx.codes.OK
        except (httpx.HTTPError, TimeoutError):
            return False
