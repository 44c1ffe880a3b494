"""The review API: who may decide what, and that a decision is a fact before it is told."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from csqa_loop import bootstrap
from csqa_loop import events as e
from csqa_loop.console.agents import Agents
from csqa_loop.errors import ConfigurationError
from csqa_loop.evidence.rules.pairs import review_id_of
from csqa_loop.settings import ConsoleSettings, Settings, load_settings
from tests import events as make
from tests.review_console import KEYS, Desk, open_desk

FIRST = review_id_of("answer", "m1")
SECOND = review_id_of("answer", "m2")
PROPOSAL = e.AnswerProposed(
    event_id=make.event_id(70_001), occurred_at=make.at(5), conversation_id="c3", message_id="m3", method="resample", answer="Boots: 99 days.",
    adapter="base", judge_model="judge",
)  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    given = [make.answer(1), make.thumb(1), make.answer(2), make.thumb(2), make.answer(3), make.thumb(3), PROPOSAL]
    opened = open_desk(tmp_path, monkeypatch, *given)
    with opened.client:
        yield opened


def decide(desk: Desk, review_id: str, agent: str = "anna", **body: object):
    desk.call("POST", f"/{review_id}/lease", agent)
    return desk.call("POST", f"/{review_id}", agent, **body)


def test_a_decision_is_told_once_the_ledger_has_it(desk: Desk) -> None:
    told = decide(desk, FIRST, action="correct", corrected_answer="Write to ann.lee@example.org: 14 days.", note="sure")
    assert (told.status_code, told.json()["in_ledger"]) == (200, True)
    (event,) = desk.bus.published
    assert isinstance(event, e.ReviewDecided)
    assert str(event.event_id) == told.json()["event_id"]
    assert (event.reviewer, event.action, event.note) == ("anna", "correct", "sure")
    assert "ann.lee" not in (event.corrected_answer or "")
    (item,) = desk.items("decided")
    assert (item["review_id"], item["lease"], [pair["state"] for pair in item["made"]]) == (FIRST, None, ["held"])  # it says "[email]"


def test_a_correction_keeps_a_contact_that_a_policy_states(desk: Desk) -> None:
    told = "Write to ann.lee@example.org within 14 days."
    desk.feed(make.policy(f"# Returns\n\n{told}", policy_id="desk", number=7))
    assert decide(desk, FIRST, action="correct", corrected_answer=told, note="as bo.li@example.org said").status_code == 200
    (event,) = desk.bus.published
    assert isinstance(event, e.ReviewDecided)
    assert (event.corrected_answer, event.note, event.stated) == (told, "as [email] said", ("ann.lee@example.org",))


def test_deciding_needs_the_lease(desk: Desk) -> None:
    refused = desk.call("POST", f"/{FIRST}", action="reject")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "taken")
    assert "nobody has it now" in refused.json()["detail"]
    assert desk.call("POST", f"/{FIRST}/lease").json()["agent"] == "anna"
    taken = desk.call("POST", f"/{FIRST}/lease", "bert")
    assert (taken.status_code, "anna has this item until" in taken.json()["detail"]) == (409, True)
    assert desk.call("POST", f"/{FIRST}", "bert", action="reject").status_code == 409
    assert [item["lease"] and item["lease"]["agent"] for item in desk.items()] == ["anna", None, None]
    assert desk.call("DELETE", f"/{FIRST}/lease", "bert").status_code == 204
    assert desk.call("POST", f"/{FIRST}/lease", "bert").status_code == 409
    assert desk.call("DELETE", f"/{FIRST}/lease").status_code == 204
    assert desk.call("POST", f"/{FIRST}/lease", "bert").status_code == 200
    assert desk.bus.published == []


def test_the_log_decides_whether_it_is_accepted(desk: Desk) -> None:
    desk.bus.broken = True
    refused = decide(desk, FIRST, action="reject")
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    desk.bus.broken, desk.bus.silent = False, True
    first = decide(desk, FIRST, action="reject")
    assert (first.status_code, first.json()["in_ledger"]) == (202, False)
    assert desk.call("POST", f"/{FIRST}/lease", "bert").status_code == 409  # it still looks open to bert, and is not
    again = decide(desk, FIRST, action="reject")
    assert again.json()["event_id"] == first.json()["event_id"]
    desk.position.caught_up = False
    assert decide(desk, SECOND, action="reject").status_code == 503


def test_what_cannot_be_decided_is_refused_by_name(desk: Desk) -> None:
    for body, param in (
        ({"action": "correct"}, "corrected_answer"),
        ({"action": "correct", "corrected_answer": "word " * 500}, "corrected_answer"),
        ({"action": "approve"}, "action"),
        ({"action": "burn"}, "action"),
        ({"action": "reject", "reviewer": "bert"}, "reviewer"),
    ):
        refused = decide(desk, FIRST, **body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, param)
        assert refused.headers["content-type"] == "application/problem+json"
    assert decide(desk, "v-0", action="reject").status_code == 404
    assert desk.call("GET", "/v-0").status_code == 404
    assert decide(desk, FIRST, action="reject").status_code == 200
    late = decide(desk, FIRST, "bert", action="reject")
    assert (late.status_code, late.json()["error"]["code"]) == (409, "decided")
    assert "anna decided 'reject'" in late.json()["detail"]
    assert decide(desk, FIRST, "bert", action="reopen").status_code == 200
    assert FIRST in [item["review_id"] for item in desk.items()]


def test_a_held_pair_is_approved(desk: Desk) -> None:
    (held,) = desk.call("GET", "?kind=pair").json()["items"]
    assert decide(desk, held["review_id"], action="approve").status_code == 200
    (item,) = desk.items("decided")
    assert item["pair"]["state"] == "fresh"


def test_keys_name_the_agent_and_open_nothing_else(desk: Desk) -> None:
    assert desk.client.get("/v1/reviews").status_code == 401
    wrong = desk.client.get("/v1/reviews", headers={"Authorization": "Bearer guessed"})
    assert (wrong.status_code, wrong.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert desk.call("GET", "", "bert").json()["agent"] == "bert"
    assert desk.call("GET", "", "operator").json()["agent"] == "operator"
    assert desk.client.get("/v1/ledger/hash", headers=desk.as_agent("anna")).status_code == 401


def test_a_file_of_decisions_is_taken_row_by_row_and_only_once(desk: Desk) -> None:
    desk.call("POST", f"/{SECOND}/lease", "bert")
    rows = [
        {"review_id": FIRST, "action": "", "corrected_answer": "14 days."},
        {"review_id": FIRST, "action": "reject"},
        {"review_id": SECOND, "action": "reject"},
        {"review_id": "v-0", "action": "reject"},
        {"review_id": review_id_of("answer", "m3"), "action": None, "corrected_answer": " "},
        {"review_id": FIRST, "action": "burn"},
    ]
    told = desk.call("POST", "", rows=rows).json()["rows"]
    assert [row["outcome"] for row in told] == ["accepted", "refused", "refused", "refused", "left alone", "refused"]
    assert "another row of this file" in told[1]["reason"]
    assert "bert has this item until" in told[2]["reason"]
    assert "'burn'" in told[5]["reason"]
    again = desk.call("POST", "", rows=rows[:1]).json()["rows"]
    assert [row["outcome"] for row in again] == ["known"]
    late = desk.call("POST", "", rows=[{"review_id": FIRST, "corrected_answer": "15 days."}]).json()["rows"]
    assert (late[0]["outcome"], "anna decided 'correct'" in late[0]["reason"]) == ("refused", True)
    assert len(desk.bus.published) == 1


def test_a_row_that_holds_no_text_costs_itself_alone(desk: Desk) -> None:
    half, headers = "\\ud800", desk.as_agent("anna") | {"Content-Type": "application/json"}
    rows = [
        *(f'{{"review_id": "{FIRST}", "action": "reject", "{field}": "{half}"}}' for field in ("corrected_answer", "note", "action")),
        f'{{"review_id": "{half}", "action": "reject"}}',
        f'{{"review_id": "{FIRST}", "corrected_answer": ["14 days"]}}',
        '{"review_id": 7, "corrected_answer": "14 days"}',
        f'{{"review_id": "{SECOND}", "corrected_answer": "14 days"}}',
    ]
    answer = desk.client.post("/v1/reviews", content=f'{{"rows": [{", ".join(rows)}]}}', headers=headers)
    told = answer.json()["rows"]
    assert [row["outcome"] for row in told] == ["refused"] * 6 + ["accepted"]
    assert [row["reason"].partition(":")[0] for row in told[:6]] == [
        "corrected_answer", "note", "action", "review_id", "corrected_answer", "review_id",
    ]  # fmt: skip
    body = f'{{"action": "correct", "corrected_answer": "{half}"}}'
    assert desk.client.post(f"/v1/reviews/{FIRST}", content=body, headers=headers).status_code == 422


@pytest.mark.parametrize(
    "place", ['[1e400, "2026-01-01", "x"]', '[0, "0001-01-01T00:00:00+14:00", "x"]', '[0, "2026-01-01", "\\ud800"]', "[]", "7"]
)
def test_what_is_no_cursor_is_refused(desk: Desk, place: str) -> None:
    after = base64.urlsafe_b64encode(place.encode()).decode()
    assert desk.call("GET", f"?after={after}").status_code == 400


def test_an_import_whose_acknowledgement_was_lost_sends_the_same_event(desk: Desk) -> None:
    row = {"review_id": FIRST, "corrected_answer": "14 days."}
    desk.bus.broken = True
    assert desk.call("POST", "", rows=[row]).status_code == 503
    desk.bus.broken = False
    (first,) = desk.call("POST", "", rows=[row]).json()["rows"]
    assert (first["outcome"], len(desk.bus.published)) == ("accepted", 1)


def test_the_page_may_run_nothing_but_its_own_files(desk: Desk) -> None:
    page = desk.client.get("/reviews")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert "style=" not in page.text
    for name in ("reviews.css", "reviews.js", "reviews.view.js", "reviews.words.js", "reviews.svg"):
        assert desk.client.get(f"/reviews/{name}").status_code == 200
        assert "innerHTML" not in desk.client.get(f"/reviews/{name}").text
    assert desk.client.get("/reviews/secrets.json").status_code == 404


def test_keys_that_tell_nobody_apart_stop_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for keys, reason in (
        ({"operator": "x"}, "whoever has the operator key"),
        ({"anna": "x", "bert": "x"}, "gives 'bert' the key of 'anna'"),
    ):
        settings = Settings(var=tmp_path, secret="s", operator_key="o", console=ConsoleSettings(agent_keys=keys))
        with pytest.raises(ConfigurationError, match=reason):
            Agents(bootstrap.build_loop(settings, horizon=e.now))
    monkeypatch.setenv("CSQA_CONSOLE__AGENT_KEYS", json.dumps(KEYS))
    assert {name: key.get_secret_value() for name, key in load_settings().console.agent_keys.items()} == KEYS
