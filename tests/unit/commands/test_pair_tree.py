"""`csqa pairs list` and `show`: a console of the test's own, and the tree of one pair's history."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from csqa_loop.commands import pairs
from csqa_loop.commands.pairs import app
from tests.console_answers import BLAME, PAIR, telling


def event(event_id: str, kind: str, second: int, **body: Any) -> dict[str, Any]:
    return {"event_id": event_id, "topic": "csqa.x", "type": kind, "occurred_at": f"2026-05-04T00:00:{second:02}Z", "body": body}


ANSWER = event(
    "e-answer", "AnswerGiven", 1, message_id="m1", answer="30 days.", adapter="base", arm="control", experiment="x1",
    citations=[{"policy_id": "returns", "version": "0123456789ab", "section": "Footwear", "score": 0.9}],
)  # fmt: skip
BAD_CASE = event("e-bad", "BadCaseReported", 3, message_id="m1", reason="wrong", reviewer="ann", corrected_answer="45 days.")
THUMB = event("e-thumb", "FeedbackGiven", 2, message_id="m1", thumb="down", comment="no!", user="u-1")
TRACE: dict[str, Any] = {
    "pair": PAIR, "answer": ANSWER, "exposure": event("e-exposure", "ArmExposed", 0), "feedback": [THUMB], "bad_cases": [BAD_CASE], "reviews": [],
    "evidence": BAD_CASE, "liked_answer": None,
    "because": [
        {"rule": "claimed", "detail": "r1 trained on it", "event_id": "e-run", "occurred_at": None},
        {"rule": "policy changed", "detail": "the prompt quoted returns in version 0", "event_id": "e-policy", "occurred_at": None},
    ],
    "blames": [BLAME],
    "runs": [
        {
            "run_id": "r1", "event_id": "e-run", "occurred_at": "2026-05-04T00:01:00Z", "adapter": "a-0123456789abcdef",
            "trained_event_id": "e-trained", "trained_at": "2026-05-04T00:02:00Z", "gate_passed": False, "evaluated_event_id": "e-gate",
            "failed": False,
        }
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A console that has one pair, and two when asked for held ones; the paths it was asked."""
    paths: list[str] = []

    def console(path: str) -> dict[str, Any]:
        paths.append(path)
        if path.startswith("/v1/pairs/"):
            return TRACE
        return {"pairs": [PAIR, PAIR | {"pair_id": "p-2"}] if "state=held" in path else [PAIR] if "state" not in path else [], "next": None}

    monkeypatch.setattr(pairs, "ask_console", telling(console))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return paths


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_tree_leads_from_the_question_to_the_adapter() -> None:
    lines = run("show", "p-1").splitlines()
    found = [next((number for number, line in enumerate(lines) if words in line), -1) for words in (
        "Boots [size 9]?  e-exposure", "returns 0123456789ab, Footwear (score 0.90)", "30 days.  (base, control of x1)  e-answer",
        "thumb down  no!  e-thumb", "wrong, says ann; should be: 45 days.  e-bad", "generation: the prompt says it", "p-1: claimed",
        "policy changed  the prompt quoted returns in version 0  e-policy", "run  r1  e-run",
        "a-0123456789abcdef, refused by the gate  e-trained",
    )]  # fmt: skip
    assert found == sorted(found)
    assert -1 not in found
    depth = [len(lines[number]) - len(lines[number].lstrip("│ ├└─")) for number in found]
    assert depth[3] == depth[4] < depth[6] < depth[8] < depth[9]


def test_a_rated_pair_shows_both_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    liked = event("e-liked", "AnswerGiven", 1, message_id="m2", answer="45 days.")
    up = event("e-up", "FeedbackGiven", 1, message_id="m2", thumb="up", comment=None, user="u-2")
    trace = TRACE | {"bad_cases": [], "evidence": up, "liked_answer": liked, "blames": []}
    monkeypatch.setattr(pairs, "ask_console", telling(lambda _: trace))
    shown = run("show", "p-1")
    assert "liked answer  45 days.  (thumb up of u-2)  e-up" in shown
    assert shown.index("thumb down") < shown.index("liked answer") < shown.index("p-1: claimed")


def test_an_imported_pair_names_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    example = event("e-example", "ExampleImported", 1, origin="old.csv 0123456789ab 7")
    trace = TRACE | {"answer": example, "evidence": example, "exposure": None, "feedback": [], "bad_cases": [], "blames": [], "runs": []}
    monkeypatch.setattr(pairs, "ask_console", telling(lambda _: trace))
    assert "example  imported by ann from old.csv 0123456789ab 7  e-example" in run("show", "p-1")


def test_a_list_asks_for_what_is_wanted_and_no_more(asked: list[str]) -> None:
    shown = run("list", "--state", "held", "--limit", "1")
    assert asked == ["/v1/pairs?state=held&limit=1"]
    assert "Boots [size 9]?" in shown
    assert "p-2" not in shown
    assert [pair["pair_id"] for pair in json.loads(run("list", "--state", "held", "--json"))] == ["p-1", "p-2"]
    assert "No pair is like that" in run("list", "--state", "fresh")


def test_scripts_get_the_whole_trace(asked: list[str]) -> None:
    assert json.loads(run("show", "p/1", "--json")) == TRACE
    assert asked == ["/v1/pairs/p%2F1"]
