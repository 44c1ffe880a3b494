"""Operators' orders against the real console and ledger, and the commands that give them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from csqa_loop import events as e
from csqa_loop.commands import adapters as exports
from csqa_loop.commands import operators
from csqa_loop.commands.experiment import app as experiment_app
from csqa_loop.console.answers import Status
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.rollout.reconciler import Reconciler
from csqa_loop.rollout.rules.unservable import Trouble
from csqa_loop.settings import Settings
from csqa_loop.training.adapters import TENSORS_FILE
from tests import events as make
from tests.adapter_folders import CONFIG, adapter_in, tensors_of
from tests.review_console import OPERATOR, Desk, open_desk

ANN = {"operator": "ann", "reason": "it is rude"}
GONE = "a-" + "0" * 16


def trained(adapter: str, number: int, *, passed: bool | None = True) -> list[e.Event]:
    told = {"run_id": f"r-{number}", "attempt": 1, "adapter": adapter}
    made = e.AdapterTrained(
        event_id=make.event_id(90_000 + number),
        occurred_at=make.at(number),
        parent="base",
        recipe_hash="x",
        data_hash="h",
        pairs=3,
        seconds=1,
        **told,
    )
    check = e.GateCheck(name="accuracy", passed=bool(passed), champion=0.7, candidate=0.6)
    judged = e.AdapterEvaluated(
        event_id=make.event_id(91_000 + number),
        occurred_at=make.at(number + 1),
        champion="base",
        passed=bool(passed),
        checks=(check,),
        **told,
    )
    return [made] if passed is None else [made, judged]


def deployed(revision: int, champion: str, **more: object) -> e.DeploymentChanged:
    return e.DeploymentChanged(
        event_id=make.event_id(92_000 + revision),
        occurred_at=make.at(revision),
        revision=revision,
        champion=champion,
        cause="a test",
        **more,
    )


@pytest.fixture
def adapters(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "var" / "adapters"
    return {name: adapter_in(folder, name.encode()) for name in ("first", "second", "refused")}


@pytest.fixture
def desk(tmp_path: Path, adapters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """First and second served, second is champion; one was refused, and one that passed has lost its folder."""
    opened = open_desk(
        tmp_path / "var", monkeypatch,
        *trained(adapters["first"], 1), *trained(adapters["second"], 2), *trained(adapters["refused"], 3, passed=False), *trained(GONE, 4),
        deployed(1, "base"), deployed(2, adapters["first"]), deployed(3, adapters["second"]),
    )  # fmt: skip

    monkeypatch.setattr(operators, "ask_console", opened.ask)
    with opened.client:
        yield opened


def post(desk: Desk, action: str, **body: object):
    return desk.client.post(f"/v1/operator/{action}", json=ANN | body, headers={"Authorization": f"Bearer {OPERATOR}"})


def run(*arguments: str) -> str:
    app = typer.Typer()
    operators.register(app)
    app.add_typer(exports.app, name="adapters")
    app.add_typer(experiment_app, name="experiment")
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_an_order_is_in_the_ledger_before_it_is_answered(desk: Desk, adapters: dict[str, str]) -> None:
    answer = post(desk, "rollback")
    assert answer.status_code == 200, answer.text
    (event,) = desk.bus.published
    assert isinstance(event, e.OperatorActed)
    assert answer.json()["event_id"] == str(event.event_id)
    assert (event.target, event.operator, event.reason, event.experiment_id) == (adapters["first"], "ann", "it is rude", "none")
    status = desk.client.get("/v1/status", headers={"Authorization": f"Bearer {OPERATOR}"}).json()
    assert (status["operators"]["order"]["action"], status["operators"]["order"]["target"]) == ("rollback", adapters["first"])
    assert status["busy"]


def test_a_pause_is_shown_with_who_and_why_until_it_ends(desk: Desk) -> None:
    assert post(desk, "pause").status_code == 200
    told = desk.client.get("/v1/status", headers={"Authorization": f"Bearer {OPERATOR}"}).json()
    assert (told["operators"]["paused"]["operator"], told["operators"]["paused"]["reason"]) == ("ann", "it is rude")
    assert not told["busy"]
    assert post(desk, "pause").status_code == 409
    assert post(desk, "resume").status_code == 200
    assert post(desk, "resume").status_code == 409
    assert post(desk, "pause").status_code == 200


@pytest.mark.parametrize(
    ("action", "body", "status", "words"),
    [
        ("stop", {}, 409, "no experiment is open"),
        ("resume", {}, 409, "not paused"),
        ("promote", {"target": "v1.1"}, 409, "is the champion already"),
        ("promote", {"target": "v1.2"}, 409, "accuracy: champion 0.7, candidate 0.6"),
        ("promote", {"target": GONE}, 409, f"adapter {GONE} is not in"),
        ("rollback", {"target": GONE}, 409, f"adapter {GONE} is not in"),
        ("rollback", {"target": "v9"}, 409, "v9 is no adapter"),
        ("pause", {"reason": "  "}, 422, "reason"),
        ("pause", {"operator": ""}, 422, "operator"),
        ("pause", {"force": True}, 422, "force"),
        ("burn", {}, 422, "action"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_and_recorded_nowhere(desk: Desk, action: str, body: dict, status: int, words: str) -> None:
    answer = post(desk, action, **body)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert desk.bus.published == []


def test_an_adapter_with_other_bytes_is_refused(desk: Desk, adapters: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "var" / "adapters" / adapters["first"] / TENSORS_FILE).write_bytes(b"changed")
    answer = post(desk, "rollback")
    assert answer.status_code == 409
    assert "has the content of" in answer.json()["detail"]


def test_nobody_decides_without_the_key_or_before_the_ledger_has_the_log(desk: Desk) -> None:
    for path in ("/v1/audit", "/v1/adapters"):
        assert desk.client.get(path).status_code == 401
    assert desk.client.post("/v1/operator/pause", json=ANN, headers={"Authorization": "Bearer anna-key"}).status_code == 401
    desk.position.caught_up = False
    assert post(desk, "pause").status_code == 503
    desk.position.caught_up = True
    desk.bus.broken = True
    assert post(desk, "pause").status_code == 503
    assert desk.bus.published == []


def test_the_commands_say_what_was_recorded(desk: Desk, adapters: dict[str, str]) -> None:
    assert "promote" in run("promote", "v1.2", "--override", "--reason", "[tariff]", "--operator", "ann", "--wait", "0")
    assert desk.bus.published[-1].target == adapters["refused"]
    assert json.loads(run("rollback", "--to", "base", "-m", "no", "--operator", "ann", "--wait", "0", "--json"))["target"] == "base"
    run("pause", "-m", "sale week", "--operator", "ben")
    with pytest.raises(PermanentError, match="paused already, by ben"):
        run("pause", "-m", "again")
    run("resume", "-m", "over")
    with pytest.raises(PermanentError, match="no experiment is open"):
        run("experiment", "stop", "-m", "rude")
    shown = run("audit", "--limit", "50")
    assert "[tariff]" in shown
    assert "accuracy 0.7 -> 0.6 failed" in shown
    told = json.loads(run("audit", "--json"))
    assert [(one["what"], one["who"]) for one in told[:3]] == [
        ("resume", operators.getpass.getuser()),
        ("pause", "ben"),
        ("rollback", "ann"),
    ]
    assert "the gate refused" in next(one for one in told if one["what"] == "promote")["numbers"]["overridden"]


def test_adapters_are_listed_with_their_versions(desk: Desk, adapters: dict[str, str], tmp_path: Path) -> None:
    rows = json.loads(run("adapters", "--json"))
    assert [(row["version"], row["state"], row["gate"]) for row in rows] == [
        ("v0", "resident", None), ("v1.0", "previous", "passed"), ("v1.1", "champion", "passed"), ("v1.2", "retired", "refused"),
        ("v1.3", "retired", "passed"),
    ]  # fmt: skip
    sizes = [len(CONFIG) + len(tensors_of(name)) for name in (b"first", b"second", b"refused")]
    assert [row["bytes"] for row in rows] == [None, *sizes, None]
    shown = run("adapters")
    assert adapters["second"] in shown
    assert "gone" in shown


def test_an_adapter_that_was_given_up_is_shown_with_the_reason(
    desk: Desk, adapters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"run_id": "r-2", "attempt": 1, "adapter": adapters["second"], "reason": "http://one refuses it"}
    desk.feed(e.AdapterUnservable(event_id=make.event_id(93_000), occurred_at=make.at(9), **told))
    row = next(row for row in json.loads(run("adapters", "--json")) if row["adapter"] == adapters["second"])
    assert (row["gate"], row["given_up"]) == ("passed", "http://one refuses it")
    assert "passed, given up" in run("adapters")
    (entry,) = [one for one in json.loads(run("audit", "--json")) if one["what"] == "adapter given up"]
    assert (entry["about"], entry["who"], entry["why"]) == (adapters["second"], "loop", "http://one refuses it")
    # Judged again, it counts as new.
    judged = trained(adapters["second"], 2)[1].model_copy(
        update={"event_id": make.event_id(93_001), "attempt": 2, "occurred_at": make.at(10)}
    )
    desk.feed(judged)
    row = next(row for row in json.loads(run("adapters", "--json")) if row["adapter"] == adapters["second"])
    assert row["given_up"] is None
    trouble = Trouble("http://one", "a-1", make.at(0), "refuses it")
    monkeypatch.setattr(Reconciler, "troubles", property(lambda _: [trouble]))
    assert operators.operators_in_words(Settings())[-1] == "http://one cannot serve a-1 since 2026-01-05 09:00:00 UTC: refuses it"


def test_the_status_says_why_an_experiment_does_not_open(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    why = "no experiment opens: its window is short"
    assert desk.ask(None, "/v1/status", Status).experiment_refused is None
    monkeypatch.setattr(Examiner, "refusal", property(lambda _: why), raising=False)
    assert desk.ask(None, "/v1/status", Status).experiment_refused == why
    assert operators.operators_in_words(Settings()) == [why]


def test_the_status_names_who_paused_and_what_is_under_way(desk: Desk, adapters: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert operators.operators_in_words(Settings()) == []
    run("pause", "-m", "sale week", "--operator", "ben")
    run("rollback", "-m", "rude", "--operator", "ann", "--wait", "0")
    paused, under_way = operators.operators_in_words(Settings())
    assert paused.startswith("paused since 2")
    assert paused.endswith(" UTC by ben: sale week")
    assert under_way.startswith(f"rollback {adapters['first']} under way since 2")

    def away(*_: object) -> dict:
        raise TransientError("no loop answers")

    monkeypatch.setattr(operators, "ask_console", away)
    assert operators.operators_in_words(Settings()) == ["no loop answers"]


@pytest.mark.parametrize(("command", "path", "name"), [("audit", "/v1/audit", "decisions"), ("adapters", "/v1/adapters", "adapters")])
def test_scripts_get_what_the_console_says_to_the_byte(desk: Desk, command: str, path: str, name: str) -> None:
    run("pause", "-m", "sale week", "--operator", "ben")
    told = desk.client.get(path, headers={"Authorization": f"Bearer {OPERATOR}"}).json()
    assert run(command, "--json") == json.dumps(told[name], ensure_ascii=False, indent=2) + "\n"


def outcome_of(desk: Desk, event: e.Event) -> dict:
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    return desk.client.get(f"/v1/operator/orders/{event.event_id}", headers=headers).json()


def invoke(*arguments: str):
    app = typer.Typer()
    operators.register(app)
    app.add_typer(experiment_app, name="experiment")
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300"})


def test_an_order_that_is_not_carried_out_is_said_with_the_reason_and_an_exit_of_its_own(desk: Desk, adapters: dict[str, str]) -> None:
    desk.troubles |= {"letters": "a letter is too large", "decisions": "Kafka does not acknowledge"}
    told = invoke("rollback", "-m", "rude", "--wait", "0.1")
    assert told.exit_code == operators.NOT_YET
    assert (
        f"rollback {adapters['first']} is recorded, not carried out yet after 0.1 s: decisions: Kafka does not acknowledge" in told.stderr
    )
    desk.troubles |= {"decisions": None}
    assert outcome_of(desk, desk.bus.published[-1])["detail"] == f"{adapters['first']}: no model server answers"
    told = invoke("rollback", "--to", "base", "-m", "rude", "--wait", "0.1")
    assert "a step before it" in told.stderr
    assert outcome_of(desk, desk.bus.published[0]) == {
        "state": "overtaken", "target": adapters["first"], "detail": f"rollback base by {operators.getpass.getuser()} came after it",
    }  # fmt: skip
    assert desk.client.get("/metrics").text.count('csqa_loop_troubled{part="letters"} 1.0') == 1


@pytest.mark.parametrize(("champion", "exit_code"), [("base", 0), ("second", 1)])
def test_an_order_is_carried_out_or_given_up_while_the_command_waits(
    desk: Desk, adapters: dict[str, str], monkeypatch: pytest.MonkeyPatch, champion: str, exit_code: int
) -> None:
    def loop(*_: object) -> None:
        order = desk.bus.published[-1]
        if outcome_of(desk, order)["state"] == "open":
            desk.feed(deployed(4, adapters.get(champion, champion), order=order.event_id))

    monkeypatch.setattr(operators.time, "sleep", loop)
    told = invoke("rollback", "--to", "base", "-m", "rude")
    assert told.exit_code == exit_code
    assert "given up" in str(told.exception) if exit_code else "carried out" in told.stdout
