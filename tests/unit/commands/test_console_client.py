"""What a console answers, as commands get it."""

import httpx
import pytest

from csqa_loop.commands.console_client import ask_console, json_of
from csqa_loop.console.answers import LedgerHash
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.settings import Settings

SETTINGS = Settings(secret="s", operator_key="o")
ANSWER = '{"hash": "ab", "recorded": {"chats": 1, "feedback": 2, "bad_cases": 3, "dead_letters": 0}}'


def answering(patch: pytest.MonkeyPatch, status: int, text: str) -> list[str]:
    asked: list[str] = []

    def request(method: str, url: str, **_: object) -> httpx.Response:
        asked.append(f"{method} {url.removeprefix(SETTINGS.console_url)}")
        return httpx.Response(status, text=text)

    patch.setattr(httpx, "request", request)
    return asked


def test_an_answer_is_read_in_its_form_and_told_again_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, 200, ANSWER.replace("}}", '}, "newer": true}'))
    told = ask_console(SETTINGS, "/v1/ledger/hash", LedgerHash)
    assert (told.hash, told.recorded.bad_cases) == ("ab", 3)
    assert json_of(told) == ANSWER
    ask_console(SETTINGS, "/v1/ledger/hash", LedgerHash, body={})
    assert asked == ["GET /v1/ledger/hash", "POST /v1/ledger/hash"]


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (404, '{"detail": "no such run"}', r"refused GET /v1/x \(404\): no such run"),
        (502, "<html>", r"\(502\): <html>"),
        (200, ANSWER.replace("chats", "talks"), r"in another form \(recorded\.chats: Field required\)"),
        (200, "<html>", "in another form"),
    ],
)
def test_what_is_no_answer_is_named(monkeypatch: pytest.MonkeyPatch, status: int, text: str, words: str) -> None:
    answering(monkeypatch, status, text)
    with pytest.raises(PermanentError, match=words):
        ask_console(SETTINGS, "/v1/x", LedgerHash)


def test_a_loop_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(httpx, "request", away)
    with pytest.raises(TransientError, match="no loop answers"):
        ask_console(SETTINGS, "/v1/x", LedgerHash)
