"""The published copy: what analysts see, while it is replaced under them."""

import json
import re
from pathlib import Path

import duckdb
import pytest

from csqa_loop import events as e
from csqa_loop.analytics.copy import publish_analytics
from csqa_loop.ledger.rules.batch import Batch, Letter
from csqa_loop.ledger.store import Ledger
from csqa_loop.log.records import LogRecord
from tests.ledgers import ledger_at
from tests.shop_history import ADAPTER, LIVE, at, estimates, history, in_log

QUERIES = re.findall(r"### (\d+\..*?)\n```sql\n(.*?)```", Path("docs/analysts.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def ledger(tmp_path: Path):
    made = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    made.open()
    facts = in_log(history())
    letter = Letter(LogRecord("csqa.feedback", 0, 7, b"c1", b'{"mail": "ann@example.com"}'), "FeedbackGiven: message_id is missing")
    made.take(Batch(facts=facts, letters=[letter], marks=[]))
    yield made
    made.close()


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
    assert states == {"m3": "quarantined", "m4": "quarantined", "m9": "withdrawn", f"i-{1:016x}": "held"}
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


def test_a_run_whose_adapter_was_given_up_says_why(tmp_path: Path):
    given_up = e.AdapterUnservable(occurred_at=at(700), run_id="r1", attempt=2, adapter=ADAPTER, reason="http://one refuses it")
    found = ledger_at(tmp_path / "var" / "ledger.duckdb")
    found.open()
    found.take(Batch(facts=in_log((*history(), given_up)), letters=[], marks=[]))
    publish_analytics(found.connection, tmp_path / "analytics.duckdb", at(9999))
    found.close()
    with duckdb.connect(str(tmp_path / "analytics.duckdb"), read_only=True) as analytics:
        (run,) = rows(analytics, "SELECT * FROM runs WHERE run_id = 'r1'")
    assert (run["state"], run["failure"], run["gate_passed"]) == ("unservable", "http://one refuses it", True)


def test_operators_actions_tell_when_they_were_carried_out(tmp_path: Path):
    said = {"occurred_at": at(0), "operator": "ann", "reason": "it is rude"}
    order = e.OperatorActed(action="rollback", target=ADAPTER, experiment_id="x1", overridden="the gate refused it", **said)
    pause = e.OperatorActed(action="pause", experiment_id="none", **said)
    carried_out = [e.DeploymentChanged(occurred_at=at(n), revision=n, champion=ADAPTER, order=order.event_id) for n in (7, 8)]
    found = ledger_at(tmp_path / "var" / "ledger.duckdb")
    found.open()
    found.take(Batch(facts=in_log((order, pause, *carried_out)), letters=[], marks=[]))
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
