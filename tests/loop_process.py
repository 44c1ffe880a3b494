"""The real process of the loop, to be killed: `csqa loop` with settings that decide after a few pairs."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from csqa_loop.settings import Settings
from tests.brokers import free_port

KEY = "operator-key"
PATIENCE = 120.0
"""Starting the process imports a good deal, on a machine that may be busy."""


class LoopProcess:
    """`csqa loop`, and its console."""

    def __init__(self, settings: Settings, log: Path, *, replica: str = "http://127.0.0.1:1", gateway: int = 1, servers: str = "") -> None:
        """`servers`: where the process finds Kafka, if that is not where the settings say."""
        self._port = free_port()
        self._log = log
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("CSQA_")} | {
            "CSQA_VAR": str(settings.var), "CSQA_KAFKA__SERVERS": servers or settings.kafka_servers, "CSQA_MODEL_SERVER__URLS": replica,
            "CSQA_OPERATOR_KEY": KEY, "CSQA_SECRET": "0" * 32, "CSQA_CONSOLE__PORT": str(self._port),
            "CSQA_GATEWAY__PORT": str(gateway),
            "CSQA_TRIGGER__MIN_PAIRS": "3", "CSQA_TRIGGER__MAX_PAIRS": "10", "CSQA_TRIGGER__PROGRESS_TIMEOUT_SECONDS": "600",
            "CSQA_PREFERENCES__GROUNDING": "off", "CSQA_PREFERENCES__MIN_USERS": "3", "CSQA_PREFERENCES__NEAR_DUPLICATE": "1.0",
        }  # fmt: skip

    @asynccontextmanager
    async def running(self, program: Sequence[str] = ("-m", "csqa_loop.cli", "loop")) -> AsyncIterator[asyncio.subprocess.Process]:
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(sys.executable, *program, env=self._environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def ask(self, method: str, path: str, body: dict | None = None) -> dict | None:
        headers = {"Authorization": f"Bearer {KEY}"}
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}", headers=headers, trust_env=False, timeout=10) as client:
                answer = await client.request(method, path, json=body)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.status_code == 200 else None

    async def until(
        self, holds: Callable[[dict], bool], what: str, method: str = "GET", path: str = "/v1/status", body: dict | None = None
    ) -> dict:
        told = None
        try:
            async with asyncio.timeout(PATIENCE):
                while not ((told := await self.ask(method, path, (body or {}) if method == "POST" else None)) and holds(told)):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{what} did not happen within {PATIENCE:g} s; last: {told}; log: {self._log.read_text()[-3000:]}")
        assert told is not None
        return told
