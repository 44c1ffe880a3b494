"""The published copy: what analysts see, while it is replaced under them."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from csqa_loop.backends.analytics import LiveEstimate, publish_analytics
from csqa_loop.backends.ledger.store import Ledger
from csqa_loop.domain import events as e
from csqa_loop.domain.errors import TransientError
from csqa_loop.domain.experiment import ArmTotals, MetricTotals, analyse
from csqa_loop.domain.intake import Batch, Letter, LogRecord
from csqa_loop.domain.preferences import review_id_of

START = datetime(2026, 5, 4, 23, 0, tzinfo=UTC)
ADAPTER = "a-0123456789abcdef"
SECOND = "a-fedcba9876543210"
CONTRACT = e.ExperimentContract(
    primary="satisfaction",
    guardrails=(e.GuardrailContract(metric="handoff", margin=0.1), e.GuardrailContract(metric="latency", margin=300.0)),
    alpha=0.05, window_seconds=20, burn_in_users=30, max_users=300, max_seconds=3600, ramp=(0.4, 1.0), ramp_users=10,
)  # fmt: skip
RECORD = LogRecord(topic="csqa.chats", partition=0, offset=0, key=b"c", value=b"{}")
QUERIES = re.findall(r"### (\d+\..*?)\n```sql\n(.*?)```", Path("docs/analysts.md").read_text(encoding="utf-8"), re.DOTALL)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def estimates() -> tuple[e.ArmEstimate, ...]:
    def arm(name, ups):
        metrics = {
            "satisfaction": MetricTotals.of([(1, 1)] * ups + [(0, 1)] * (60 - ups)),
            "handoff": MetricTotals.of([(0, 1)] * 57 + [(1, 1)] * 3),
            "latency": MetricTotals.of((800 + n, 1) for n in range(60)),
        }
        return ArmTotals(name, 60, metrics)

    return analyse(CONTRACT, arm("challenger", 54), arm("control", 30), (60, 60), 60.0).estimates


def chats(number: int, **more) -> list[e.Event]:
    """One question of one customer, with its exposure and, for most, a thumb."""
    ids = {"message_id": f"m{number}", "conversation_id": f"c{number // 2}", "user": f"u-{number // 2:016x}"}
    arm = {"experiment": "x1", "arm": "challenger" if number % 4 < 2 else "control", "adapter": ADAPTER if number % 4 < 2 else "base"}
    citation = e.Citation(chunk_id="returns@0123456789ab#0", policy_id="returns", version="0123456789ab", section="Electronics", score=0.8)
    answer = e.AnswerGiven(
        occurred_at=at(60 * number + 1), question=f"May I return item {number % 7}?", answer="You have 30 days.",
        messages=(e.ChatMessage(role="system", content="Within 14 days."), e.ChatMessage(role="user", content=f"May I return item {number % 7}?")),
        citations=(citation,), covered=number % 10 != 0, handoff=number % 10 == 0, latency_ms=100.0 + number,
        tokens=e.Tokens(prompt=90, completion=8), **ids, **arm, **more,
    )  # fmt: skip
    made: list[e.Event] = [e.ArmExposed(occurred_at=at(60 * number), **ids, **arm), answer]
    if number % 5:
        made.append(e.FeedbackGiven(occurred_at=at(60 * number + 5), thumb="down" if number % 3 == 0 else "up", **ids))
    return made


def decision(message: str, action: str) -> dict[str, str]:
    subject = {"kind": "answer", "subject": message, "review_id": review_id_of("answer", message)}
    return {"conversation_id": f"c{int(message[1:]) // 2}", "message_id": message, "action": action, "reviewer": "agent-3"} | subject


def example(number: int, **more) -> e.ExampleImported:
    return e.ExampleImported(
        occurred_at=at(950), conversation_id=f"i-{number:016x}", messages=(e.ChatMessage(role="user", content="Do you repair oars?"),),
        answer="Yes, every oar that is not broken in two.", category="repairs", origin="old.csv", operator="opal", **more,
    )  # fmt: skip


def history() -> list[e.Event]:
    facts = [event for number in range(80) for event in chats(number)]
    bad = {"reviewer": "agent-1", "reason": "wrong"}
    facts += [
        e.FeedbackGiven(occurred_at=at(70), conversation_id="c0", message_id="m1", user="u-0", thumb="down", comment="on second thought"),
        e.FeedbackGiven(occurred_at=at(71), conversation_id="c9999", message_id="m9999", user="u-9", thumb="up"),
        e.BadCaseReported(occurred_at=at(300), conversation_id="c1", message_id="m3", corrected_answer="You have 14 days.", **bad),
        e.BadCaseReported(occurred_at=at(301), conversation_id="c2", message_id="m4", **bad),
        e.BadCaseReported(
            occurred_at=at(302), conversation_id="c3", message_id="m6", corrected_answer="Kayaks cost 90 pounds.", reviewer="agent-2", reason="incomplete"
        ),
        e.ReviewDecided(occurred_at=at(900), corrected_answer="You have 14 days.", **decision("m4", "correct")),
        e.ReviewDecided(occurred_at=at(901), corrected_answer="Within 14 days.", **decision("m9", "correct")),
        e.ReviewDecided(occurred_at=at(902), **decision("m9", "reopen")),
        example(1, rejected="Nobody knows."),
        example(2, liked=True),
        example(3, liked=True, split="holdout"),
        e.PolicyPublished(occurred_at=at(1), policy_id="returns", version="0123456789ab", title="Returns", text="30 days"),
        e.PolicyPublished(occurred_at=at(2), policy_id="returns", version="ba9876543210", title="Returns 2", text="14 days"),
        e.PolicyPublished(occurred_at=at(3), policy_id="old", version="111111111111", title="Old", text="gone"),
        e.PolicyWithdrawn(occurred_at=at(4), policy_id="old"),
        e.TrainingRequested(occurred_at=at(400), run_id="r1", attempt=1, reason="enough pairs", champion="base", pair_ids=("p1",), data_hash="h"),
        e.TrainingRequested(occurred_at=at(500), run_id="r1", attempt=2, reason="enough pairs", champion="base", pair_ids=("p1", "p2"), data_hash="h"),
        e.TrainingProgress(occurred_at=at(510), run_id="r1", attempt=2, stage="training", step=1, steps=9, loss=0.7),
        e.TrainingProgress(occurred_at=at(520), run_id="r1", attempt=2, stage="training", step=9, steps=9, loss=0.2),
        e.AdapterTrained(
            occurred_at=at(530), run_id="r1", attempt=2, adapter=ADAPTER, parent="base", recipe_hash="x", data_hash="h", pairs=2, seconds=30.5,
            first_loss=0.6931,
        ),
        e.AdapterEvaluated(
            occurred_at=at(540), run_id="r1", attempt=2, adapter=ADAPTER, champion="base", passed=True, checks=(e.GateCheck(name="held out", passed=True),)
        ),
        e.TrainingRequested(occurred_at=at(9000), run_id="r2", attempt=1, reason="enough pairs", champion=ADAPTER, pair_ids=("p3",), data_hash="h"),
        e.TrainingFailed(occurred_at=at(9100), run_id="r2", attempt=1, stage="training", reason="out of memory"),
        e.ExperimentOpened(
            occurred_at=at(600), experiment_id="x1", run_id="r1", champion="base", challenger=ADAPTER, salt="x1", share=0.4, contract=CONTRACT
        ),
        e.ShareRaised(occurred_at=at(700), experiment_id="x1", share=1.0),
        e.VerdictReached(
            occurred_at=at(8000), experiment_id="x1", verdict="PROMOTE", as_of=at(7999), stopped_by="better", estimates=estimates()
        ),
        e.ExperimentOpened(
            occurred_at=at(9000), experiment_id="x2", run_id="r2", champion=ADAPTER, challenger=SECOND, salt="x2", share=0.4, contract=CONTRACT
        ),
        e.DeploymentChanged(occurred_at=at(0), revision=1, champion="base", cause="first start"),
        e.DeploymentChanged(occurred_at=at(8001), revision=2, champion=ADAPTER, previous_champion="base", cause="x1: PROMOTE"),
    ]  # fmt: skip
    return facts


@pytest.fixture
def ledger(tmp_path: Path):
    made = Ledger(tmp_path / "ledger" / "ledger.duckdb")
    made.open()
    facts = [(event, RECORD) for event in history()]
    letter = Letter(LogRecord("csqa.feedback", 0, 7, b"c1", b'{"mail": "ann@example.com"}'), "FeedbackGiven: message_id is missing")
    made.take(Batch(facts=facts, letters=[letter], marks=[]))
    yield made
    made.close()


LIVE = [LiveEstimate("x2", at(9500), "CONTINUE", row) for row in estimates()] + [
    LiveEstimate("x1", at(9500), "CONTINUE", row)
    for row in estimates()  # a look that a verdict has overtaken
]


@pytest.fixture
def analytics(ledger: Ledger, tmp_path: Path):
    target = tmp_path / "analytics.duckdb"
    publish_analytics(ledger.reader(), target, at(9999), LIVE)
    with duckdb.connect(str(target), read_only=True) as reader:
        reader.execute("SET TimeZone = 'UTC'")
        yield reader


def rows(analytics: duckdb.DuckDBPyConnection, query: str) -> list[dict]:
    found = analytics.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def test_there_are_thirteen_documented_queries():
    assert len(QUERIES) == 13


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_each_documented_query_answers(analytics: duckdb.DuckDBPyConnection, title: str, query: str):
    assert rows(analytics, query), title


def test_the_result_view_has_the_promised_columns(analytics: duckdb.DuckDBPyConnection):
    columns = [name for name, *_ in analytics.execute("DESCRIBE experiment_results").fetchall()]
    promised = "experiment_id, as_of, metric, arm, users, numerator, denominator, estimate, lower, upper, verdict"
    assert columns == promised.split(", ")


def test_results_are_the_verdicts_to_the_last_digit(analytics: duckdb.DuckDBPyConnection):
    found = rows(analytics, "SELECT * FROM experiment_results WHERE experiment_id = 'x1'")
    assert {row["verdict"] for row in found} == {"PROMOTE"}
    assert {row["as_of"] for row in found} == {at(7999)}
    columns = ("metric", "arm", "users", "numerator", "denominator", "estimate", "lower", "upper")
    assert [tuple(row[column] for column in columns) for row in found] == [
        tuple(getattr(row, column) for column in columns) for row in estimates()
    ]


def test_an_open_experiment_shows_its_last_look(analytics: duckdb.DuckDBPyConnection):
    found = rows(analytics, "SELECT * FROM experiment_results WHERE experiment_id = 'x2'")
    assert len(found) == len(estimates())
    assert {(row["verdict"], row["as_of"]) for row in found} == {("CONTINUE", at(9500))}


def test_experiments_tell_how_they_ended(analytics: duckdb.DuckDBPyConnection):
    first, second = rows(analytics, "SELECT * FROM experiments ORDER BY opened_at")
    assert (first["verdict"], first["stopped_by"], first["share"], first["ended_at"]) == ("PROMOTE", "better", 1.0, at(8000))
    assert (first["exposed_challenger"], first["exposed_control"]) == (20, 20)
    assert first["lower"] > 0
    assert first["estimate"] == pytest.approx(0.4)
    assert (second["verdict"], second["ended_at"], second["share"], second["exposed_control"]) == ("CONTINUE", None, 0.4, 0)
    assert second["users"] == 120


def test_conversations_count_the_last_thumb_of_each_answer(analytics: duckdb.DuckDBPyConnection):
    (first,) = rows(analytics, "SELECT * FROM conversations WHERE conversation_id = 'c0'")
    assert (first["turns"], first["thumbs_up"], first["thumbs_down"], first["handoffs"]) == (2, 0, 1, 1)
    assert analytics.execute("SELECT count(*), sum(turns) FROM conversations").fetchone() == (40, 80)


def test_feedback_and_bad_cases_know_their_answers(analytics: duckdb.DuckDBPyConnection):
    assert analytics.execute("SELECT count(*), count(*) FILTER (NOT answer_known) FROM feedback").fetchone() == (66, 1)
    found = rows(analytics, "SELECT * FROM bad_cases ORDER BY message_id")
    assert [(row["message_id"], row["answer"], row["fault"], row["became_pair"]) for row in found] == [
        ("m3", "You have 30 days.", "generation", True),
        ("m4", "You have 30 days.", "missing_policy", False),
        ("m6", "You have 30 days.", "missing_policy", False),
    ]
    assert (found[2]["missing_numbers"], found[2]["category"]) == (["90"], "returns")


def test_knowledge_faults_say_what_has_to_be_written(analytics: duckdb.DuckDBPyConnection):
    (gap,) = rows(analytics, "SELECT * FROM knowledge_faults WHERE message_id = 'm6'")
    assert (gap["fault"], gap["to_do"]) == ("missing_policy", "write it")
    assert gap["detail"] == "no current policy states 90 on this matter"
    # A review that says what was right overrules the complaint, and one that was undone does not.
    assert rows(analytics, "SELECT * FROM knowledge_faults WHERE message_id = 'm4'") == []
    assert [row["detail"] for row in rows(analytics, "SELECT * FROM knowledge_faults WHERE message_id = 'm9'")] == [
        "no current policy is about this question"
    ]


def test_pairs_are_in_the_state_that_the_ledger_gives_them(ledger: Ledger, analytics: duckdb.DuckDBPyConnection):
    states = dict(analytics.execute("SELECT message_id, state FROM pairs").fetchall())
    assert states == {"m3": "quarantined", "m4": "quarantined", "m9": "withdrawn", f"i-{1:016x}": "fresh"}
    assert states == dict(ledger.connection.execute("SELECT message_id, state FROM pair_states").fetchall())
    claimed = analytics.execute("SELECT DISTINCT runs FROM pairs").fetchall()
    assert claimed == [([],)]


def test_unpaired_ratings_are_those_that_may_be_trained_on(analytics: duckdb.DuckDBPyConnection):
    # The policy changed after every one of these answers: only the example is left, and not the one that is held out.
    assert [(row["message_id"], row["liked"], row["question"]) for row in rows(analytics, "SELECT * FROM unpaired")] == [
        (f"i-{2:016x}", True, "Do you repair oars?")
    ]


def test_reviews_tell_what_became_of_them(analytics: duckdb.DuckDBPyConnection):
    found = rows(analytics, "SELECT * FROM reviews ORDER BY occurred_at")
    assert [(row["message_id"], row["action"], row["undone"], row["became_pair"]) for row in found] == [
        ("m4", "correct", False, True), ("m9", "correct", True, True), ("m9", "reopen", False, False),
    ]  # fmt: skip
    assert [row["seconds_to_decide"] for row in found] == [599.0, 356.0, 357.0]


def test_runs_speak_for_their_last_attempt(analytics: duckdb.DuckDBPyConnection):
    first, second = rows(analytics, "SELECT * FROM runs ORDER BY requested_at")
    assert (first["state"], first["attempts"], first["pairs"], first["adapter"], first["last_loss"]) == ("passed", 2, 2, ADAPTER, 0.2)
    assert (first["requested_at"], first["gate_passed"], json.loads(first["gate_checks"])[0]["name"]) == (at(400), True, "held out")
    assert (first["method"], first["replayed_pairs"], first["examples"]) == (None, 0, 0)
    assert (second["state"], second["failure"], second["adapter"]) == ("failed", "out of memory", None)


def test_operators_actions_tell_when_they_were_carried_out(tmp_path: Path):
    said = {"occurred_at": at(0), "operator": "ann", "reason": "it is rude"}
    order = e.OperatorActed(action="rollback", target=ADAPTER, experiment_id="x1", overridden="the gate refused it", **said)
    pause = e.OperatorActed(action="pause", experiment_id="none", **said)
    carried_out = [e.DeploymentChanged(occurred_at=at(n), revision=n, champion=ADAPTER, order=order.event_id) for n in (7, 8)]
    found = Ledger(tmp_path / "var" / "ledger.duckdb")
    found.open()
    found.take(Batch(facts=[(event, RECORD) for event in (order, pause, *carried_out)], letters=[], marks=[]))
    publish_analytics(found.connection, tmp_path / "analytics.duckdb", at(9))
    found.close()
    with duckdb.connect(str(tmp_path / "analytics.duckdb"), read_only=True) as analytics:
        back, paused = rows(analytics, "SELECT * FROM operator_actions ORDER BY action DESC")
    assert (back["action"], back["target"], back["experiment_id"], back["overridden"], back["carried_out_at"]) == (
        "rollback", ADAPTER, "x1", "the gate refused it", at(7),
    )  # fmt: skip
    assert [paused[name] for name in ("action", "operator", "reason", "target", "experiment_id", "overridden", "carried_out_at")] == [
        "pause", "ann", "it is rude", None, None, None, None,
    ]  # fmt: skip


def test_policies_show_their_current_state(analytics: duckdb.DuckDBPyConnection):
    old, returns = rows(analytics, "SELECT * FROM policies ORDER BY policy_id")
    assert (returns["version"], returns["versions"], returns["withdrawn"], returns["text"]) == ("ba9876543210", 2, False, "14 days")
    assert (old["withdrawn"], old["title"]) == (True, "Old")


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
def test_days_are_utc_in_every_session(analytics: duckdb.DuckDBPyConnection, zone: str):
    analytics.execute(f"SET TimeZone = '{zone}'")
    days = rows(analytics, "SELECT day, sum(answers) AS answers FROM daily_satisfaction GROUP BY day ORDER BY day")
    assert [(str(row["day"]), row["answers"]) for row in days] == [("2026-05-04", 60), ("2026-05-05", 20)]


def test_what_was_refused_is_listed_without_its_unmasked_content(analytics: duckdb.DuckDBPyConnection, tmp_path: Path):
    (letter,) = rows(analytics, "SELECT * FROM dead_letters")
    assert letter["reason"] == "FeedbackGiven: message_id is missing"
    assert b"ann@example.com" not in (tmp_path / "analytics.duckdb").read_bytes()


def test_views_work_when_the_file_is_attached_under_another_name(ledger: Ledger, tmp_path: Path):
    publish_analytics(ledger.reader(), tmp_path / "a'b.duckdb", at(1))
    with duckdb.connect() as session:
        session.execute(f"ATTACH '{tmp_path}/a''b.duckdb' AS theirs (READ_ONLY)")
        assert session.execute("SELECT count(*) FROM theirs.experiments").fetchone() == (2,)
        assert session.execute("SELECT sum(answers) FROM theirs.daily_satisfaction").fetchone() == (80,)


def test_an_empty_ledger_publishes_empty_views(tmp_path: Path):
    empty = Ledger(tmp_path / "ledger" / "ledger.duckdb")
    empty.open()
    publish_analytics(empty.reader(), tmp_path / "out" / "analytics.duckdb", at(0))
    empty.close()
    with duckdb.connect(str(tmp_path / "out" / "analytics.duckdb"), read_only=True) as analytics:
        views = [
            name
            for (name,) in analytics.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'").fetchall()
        ]
        assert len(views) == 16
        assert all(analytics.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,) for view in views)


def test_the_ledger_goes_on_and_leftovers_go_away(ledger: Ledger, tmp_path: Path):
    target = tmp_path / "analytics.duckdb"
    target.with_name(".analytics.duckdb.publishing").write_bytes(b"a killed publisher left this")
    target.with_name(".analytics.duckdb.publishing.wal").write_bytes(b"and this")
    target.with_name("analytics.duckdb.wal").write_bytes(b"and a writing reader this")
    cursor = ledger.reader()
    publish_analytics(cursor, target, at(1))
    ledger.take(Batch(facts=[(event, RECORD) for event in chats(999)], letters=[], marks=[]))
    publish_analytics(cursor, target, at(2))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["analytics.duckdb", "ledger"]
    with duckdb.connect(str(target), read_only=True) as analytics:
        assert analytics.execute("SELECT count(*) FROM answers WHERE message_id = 'm999'").fetchone() == (1,)
        assert analytics.execute("SELECT epoch(as_of) FROM published").fetchone() == (at(2).timestamp(),)


def test_a_failure_leaves_the_old_file_and_the_ledger_usable(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "analytics.duckdb"
    cursor = ledger.reader()
    publish_analytics(cursor, target, at(1))
    before = target.read_bytes()
    monkeypatch.setattr("csqa_loop.backends.analytics._TABLES", ("answers", "no_such_table"))
    with pytest.raises(TransientError, match=r"analytics\.duckdb could not be published: .*no_such_table"):
        publish_analytics(cursor, target, at(2))
    assert target.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["analytics.duckdb", "ledger"]
    monkeypatch.undo()
    publish_analytics(cursor, target, at(3))
    assert cursor.execute("SELECT count(*) FROM answers").fetchone() == (80,)


READER = """
import select, sys, duckdb
opened = 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.003)[0]:
    with duckdb.connect(sys.argv[1], read_only=True) as analytics:
        answers, experiments = analytics.execute("SELECT (SELECT sum(answers) FROM daily_satisfaction), (SELECT count(*) FROM experiments)").fetchone()
        assert answers >= 80 and experiments == 2, (answers, experiments)
    opened += 1
print(opened)
"""


@pytest.mark.timeout(300)  # 50 publishes, on a machine that may be busy
def test_a_reader_never_fails_while_the_file_is_replaced(ledger: Ledger, tmp_path: Path):
    target = tmp_path / "analytics.duckdb"
    cursor = ledger.reader()
    publish_analytics(cursor, target, at(0))
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert reader.stdout.readline() == "ready\n"
        for number in range(50):
            ledger.take(Batch(facts=[(event, RECORD) for event in chats(1000 + number)], letters=[], marks=[]))
            publish_analytics(cursor, target, at(number))
        said, failed = reader.communicate(input="stop\n", timeout=60)
    finally:
        reader.kill()
    assert reader.returncode == 0, failed
    assert int(said) > 20
