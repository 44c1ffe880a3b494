"""Dead letters over the console and by `csqa letters`: listed, shown, retried and dropped."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from csqa_loop import events as e
from csqa_loop.commands import letters, operators
from csqa_loop.errors import PermanentError
from csqa_loop.ledger.invariants import ledger_hash
from csqa_loop.ledger.rules.batch import Batch, Letter
from csqa_loop.log.records import LogRecord
from csqa_loop.rollout.history import audit_entries
from tests import events as make
from tests.review_console import OPERATOR, Desk, open_desk

ODD = b'\xff{"thumb": "\x1b[31mred\x00"}\n'
HEADERS = {"Authorization": f"Bearer {OPERATOR}"}
RECORDS = (
    LogRecord("csqa.feedback", 2, 7, b"\xffc1", ODD),
    LogRecord("csqa.chats", 0, 3, None, b'{"event_id": "\\ud83d"}'),
    LogRecord("csqa.policies", 1, 4, b"returns", None),
)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    opened = open_desk(tmp_path / "var", monkeypatch)
    monkeypatch.setattr(letters, "ask_console", opened.ask)
    monkeypatch.setattr(operators, "ask_console", opened.ask)
    with opened.client:
        opened.feed_records(*RECORDS)
        yield opened


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.add_typer(letters.app, name="letters")
    operators.register(app)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def listed(*arguments: str) -> dict[str, dict]:
    return {row["topic"]: row for row in json.loads(run("letters", "list", "--json", *arguments))}


def test_letters_are_listed_with_place_size_and_reason(desk: Desk) -> None:
    rows = listed()
    row = rows["csqa.feedback"]
    assert (row["partition"], row["offset"], row["bytes"], row["attempts"], row["state"]) == (2, 7, len(ODD), 1, "waiting")
    assert "not JSON" in row["reason"]
    assert listed("--topic", "csqa.chats").keys() == {"csqa.chats"}
    assert listed("--state", "dropped") == {}
    shown = run("letters", "list")
    assert row["letter_id"][:12] in shown
    assert "csqa_dead_letters_waiting 3.0" in desk.client.get("/metrics").text


def test_a_letter_is_shown_without_a_control_character_and_kept_to_the_byte(desk: Desk) -> None:
    name = listed()["csqa.feedback"]["letter_id"]
    shown = run("letters", "show", name[:12])
    assert all(line.isprintable() for line in shown.splitlines())
    assert r"\x1b[31mred\x00" in shown
    whole = json.loads(run("letters", "show", name, "--json"))
    assert base64.b64decode(whole["value_base64"]) == ODD
    assert base64.b64decode(whole["key_base64"]) == b"\xffc1"
    assert json.loads(run("letters", "show", listed()["csqa.policies"]["letter_id"], "--json"))["value_base64"] is None


def test_a_retry_publishes_the_bytes_and_one_that_fails_again_is_the_same_letter(desk: Desk) -> None:
    name = listed()["csqa.feedback"]["letter_id"]
    run("letters", "retry", name[:12], "-m", "mended", "--operator", "ann")
    assert [(record.topic, record.key, record.value) for record in desk.bus.sent] == [("csqa.feedback", b"\xffc1", ODD)]
    row = listed()["csqa.feedback"]
    assert (row["letter_id"], row["attempts"], row["retries"], row["state"]) == (name, 2, 1, "waiting")
    assert (row["operator"], row["note"]) == ("ann", "mended")
    # The loop reads the same place again after a crash: nothing more has come.
    desk.feed_records(*desk.bus.sent)
    assert listed()["csqa.feedback"]["attempts"] == 2


def test_what_is_dropped_is_a_fact_that_the_audit_shows_and_a_replay_has(desk: Desk) -> None:
    name = listed()["csqa.chats"]["letter_id"]
    told = json.loads(run("letters", "drop", name, "-m", "a load test", "--operator", "ann", "--json"))
    assert (told["type"], told["letter_id"]) == ("LetterHandled", name)
    assert listed("--state", "dropped").keys() == {"csqa.chats"}
    assert "csqa_dead_letters_waiting 2.0" in desk.client.get("/metrics").text
    entry = json.loads(run("audit", "--json"))[0]
    assert (entry["what"], entry["about"], entry["who"], entry["why"]) == ("letter drop", name[:12], "ann", "a load test")
    before = desk.client.portal.call(desk.bus.ledger.ask, ledger_hash)
    # The same bytes from elsewhere: what was said of them holds.
    desk.feed_records(RECORDS[1]._replace(partition=3, offset=99))
    assert listed()["csqa.chats"]["state"] == "dropped"
    assert desk.client.portal.call(desk.bus.ledger.ask, ledger_hash) == before
    assert len(desk.client.portal.call(desk.bus.ledger.ask, audit_entries, 10)) == 1


def test_a_letter_whose_event_was_taken_since_is_no_work(desk: Desk) -> None:
    early = make.thumb(1)
    desk.feed(early)
    other = early.model_copy(update={"thumb": "up"})
    desk.feed_records(make.record(other, 50))
    row = next(row for row in json.loads(run("letters", "list", "--json")) if row["event_id"] == str(early.event_id))
    assert row["state"] == "waiting"  # the id is in the ledger, and these bytes are not
    late = make.record(make.thumb(2), 60)
    desk.client.portal.call(lambda: desk.bus.ledger.take(refused(late)))
    desk.feed_records(late)
    row = next(row for row in json.loads(run("letters", "list", "--json")) if row["event_id"] == str(make.thumb(2).event_id))
    assert row["state"] == "taken"
    with pytest.raises(PermanentError, match="there is nothing to do"):
        run("letters", "retry", row["letter_id"], "-m", "again")


def refused(record: LogRecord) -> Batch:
    return Batch(facts=[], letters=[Letter(record, "refused by a former version", str(make.thumb(2).event_id))], marks=[])


@pytest.mark.parametrize(
    ("action", "path", "body", "status", "words"),
    [
        ("retry", "f" * 64, {}, 404, "of no letter"),
        ("drop", "", {}, 404, ""),
        ("retry", "policies", {}, 409, "has no value"),
        ("retry", "feedback", {"reason": " "}, 422, "reason"),
        ("burn", "feedback", {}, 422, "action"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(desk: Desk, action: str, path: str, body: dict, status: int, words: str) -> None:
    name = next((row["letter_id"] for row in listed().values() if row["topic"] == f"csqa.{path}"), path)
    answer = desk.client.post(f"/v1/letters/{name}/{action}", json={"operator": "ann", "reason": "a test"} | body, headers=HEADERS)
    assert answer.status_code == status
    assert words in answer.text
    assert desk.bus.sent == []
    assert not [event for event in desk.bus.published if isinstance(event, e.LetterHandled)]


def test_nobody_reads_a_letter_without_the_key(desk: Desk) -> None:
    assert desk.client.get("/v1/letters").status_code == 401
    desk.bus.broken = True
    name = listed()["csqa.feedback"]["letter_id"]
    answer = desk.client.post(f"/v1/letters/{name}/retry", json={"operator": "ann", "reason": "a test"}, headers=HEADERS)
    assert answer.status_code == 503
