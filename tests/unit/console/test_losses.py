"""What was lost, over the console and in the command."""

import json
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from csqa_loop.cli import app as csqa
from csqa_loop.console.answers import LedgerLosses
from csqa_loop.console.app import create_console
from csqa_loop.events.topics import CHATS
from csqa_loop.http.bearer import bearer
from csqa_loop.ledger.losses import Gap, Loss
from csqa_loop.ledger.service import LedgerService
from tests.events import at
from tests.fakes.gateway import SECRETS
from tests.ledgers import ledger_at


class Parts:
    """Of a console that is asked about nothing else."""

    secrets = SECRETS

    def __init__(self, ledger: LedgerService) -> None:
        self.ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return None


def no_life(_: FastAPI) -> AbstractAsyncContextManager[None]:
    return nullcontext()


async def test_an_operator_sees_and_acknowledges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.console.app.review_router", lambda *_: FastAPI().router)
    service = LedgerService(ledger_at(tmp_path / "ledger" / "ledger.duckdb"))
    await service.wait_for_lock()
    await service.open()
    await service.note_losses([Gap(CHATS, 1, 5, 9)])
    app = create_console(Parts(service), None, lambda: {"ok": True, "phase": "reading"}, no_life)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://console", headers=bearer(SECRETS.operator_key)) as client:
            told = (await client.get("/v1/ledger/losses")).json()
            assert (told["open"], told["losses"][0]["gap"]) == (1, {"topic": CHATS, "partition": 1, "start": 5, "until": 9})
            assert (await client.post("/v1/ledger/losses/acknowledge", json={"reason": ""})).status_code == 422
            told = (await client.post("/v1/ledger/losses/acknowledge", json={"reason": "the disk was full"})).json()
            assert (told["open"], told["losses"][0]["acknowledgement"]) == (0, "the disk was full")
            client.headers.pop("authorization")
            assert (await client.post("/v1/ledger/losses/acknowledge", json={"reason": "x"})).status_code == 401
    finally:
        await service.close()


@pytest.mark.parametrize("known", [False, True])
def test_the_command_fails_while_one_is_open(monkeypatch: pytest.MonkeyPatch, *, known: bool) -> None:
    loss = Loss(Gap(CHATS, 1, 5, 9), 1, at(0), at(1) if known else None, "the disk was full" if known else None)
    asked: list[object] = []

    def answer(_: object, path: str, kind: type, *, body: object = None) -> LedgerLosses:
        asked.append((path, body))
        return LedgerLosses.of([loss])

    monkeypatch.setattr("csqa_loop.commands.ledger.ask_console", answer)
    said = CliRunner().invoke(csqa, ["ledger", "losses"])
    assert said.exit_code == (0 if known else 1)
    assert "csqa.chats[1] offsets 5 to 8 (4)" in said.output
    assert ("the disk was full" if known else "NOT acknowledged") in said.output
    as_json = CliRunner().invoke(csqa, ["ledger", "losses", "--json", "--acknowledge", "seen"])
    assert json.loads(as_json.output)["losses"][0]["gap"]["until"] == 9
    assert asked[-1] == ("/v1/ledger/losses/acknowledge", {"reason": "seen"})
