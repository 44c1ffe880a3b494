"""The console's app with a real ledger and a log that feeds back into it: for tests that need no broker."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from csqa_loop import bootstrap
from csqa_loop import events as e
from csqa_loop.console.app import create_console
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.ledger.recorder import sort_out
from csqa_loop.ledger.service import LedgerService
from csqa_loop.log.records import LogRecord
from csqa_loop.settings import ConsoleSettings, Settings, TrainingSettings
from tests import events as make
from tests.fakes.model_server import FakeModelServer

KEYS = {"anna": "anna-key", "bert": "bert-key"}
OPERATOR = "operator-key"


@dataclass
class FeedingBus:
    """Acknowledged is what the ledger takes; `silent` acknowledges and feeds nothing, `broken` refuses."""

    ledger: LedgerService
    published: list[e.Event] = field(default_factory=list)
    sent: list[LogRecord] = field(default_factory=list)
    """Bytes as they were."""
    silent: bool = False
    broken: bool = False

    async def publish(self, *events: e.Event) -> None:
        if self.broken:
            raise TransientError("the log does not acknowledge")
        self.published += events
        if not self.silent:
            await self.ledger.take(make.batch(*events))

    async def send(self, topic: str, key: bytes | None, value: bytes) -> None:
        if self.broken:
            raise TransientError("the log does not acknowledge")
        self.sent.append(LogRecord(topic, 0, 1_000 + len(self.sent), key, value))
        await self.ledger.take(sort_out(self.sent[-1:], lambda event: event))

    async def stop(self) -> None: ...


@dataclass
class Position:
    caught_up: bool = True
    trouble: str | None = None

    async def committed(self) -> dict[tuple[str, int], int]:
        return {}


@dataclass
class Desk:
    client: TestClient
    bus: FeedingBus
    position: Position
    troubles: dict[str, str | None]
    """What the loop's health says."""

    def as_agent(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {KEYS.get(name, OPERATOR)}"}

    def call(self, method: str, path: str = "", agent: str = "anna", **body: object):
        return self.client.request(method, f"/v1/reviews{path}", headers=self.as_agent(agent), **({"json": body} if body else {}))

    def ask(self, settings: object, path: str, answer: type[Any], *, body: object = None, timeout: float = 0) -> Any:
        """`ask_console` of this console."""
        del settings, timeout
        response = self.client.request("GET" if body is None else "POST", path, json=body, headers=self.as_agent("operator"))
        if response.status_code != 200:
            raise PermanentError(response.json()["detail"])
        return TypeAdapter(answer).validate_json(response.content)

    def items(self, state: str = "open") -> list[dict]:
        return self.call("GET", f"?whole=true&state={state}").json()["items"]

    def feed_records(self, *records: LogRecord) -> None:
        self.client.portal.call(lambda: self.bus.ledger.take(sort_out(records, lambda event: event)))

    def feed(self, *events: e.Event) -> None:
        self.client.portal.call(lambda: self.bus.ledger.take(make.batch(*events)))


@asynccontextmanager
async def _opened(ledger: LedgerService, events: Iterable[e.Event]) -> AsyncIterator[None]:
    await ledger.open()
    await ledger.take(make.batch(*events))
    yield
    await ledger.close()


def open_desk(folder: Path, patch: pytest.MonkeyPatch, *events: e.Event) -> Desk:
    """Use `desk.client` as a context manager; the events are in the ledger then."""
    patch.setattr(bootstrap, "build_model_server", lambda _: FakeModelServer())
    settings = Settings(
        var=folder, secret="s", operator_key=OPERATOR, console=ConsoleSettings(agent_keys=KEYS), training=TrainingSettings(max_length=200)
    )
    parts = bootstrap.build_loop(settings, horizon=e.now).console
    bus, position = FeedingBus(parts.ledger), Position()
    parts = replace(parts, bus=bus)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with _opened(parts.ledger, events):
            yield

    troubles: dict[str, str | None] = dict.fromkeys(("intake", "decisions", "letters"))
    app = create_console(parts, position, lambda: {"ok": True, "phase": "deciding", "troubles": troubles}, lifespan)
    return Desk(TestClient(app), bus, position, troubles)
