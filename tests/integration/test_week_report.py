"""`csqa report` on a published copy in a real DuckDB file."""

import json
import os
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from csqa_loop import events as e
from csqa_loop.analytics.copy import publish_analytics
from csqa_loop.analytics.weekly import weekly
from csqa_loop.cli import app
from csqa_loop.errors import PermanentError
from csqa_loop.ledger.rules.batch import Batch
from tests.ledgers import ledger_at
from tests.shop_history import LIVE, START, at, history, in_log

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("CSQA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CSQA_VAR", str(tmp_path))
    ledger = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    ledger.open()
    hostile = e.PolicyPublished(occurred_at=at(30), policy_id="bad", version="222222222222", title=HOSTILE, text="x")
    # As after a start with an empty log: published again, and no change.
    again = e.PolicyPublished(occurred_at=at(40), policy_id="returns", version="ba9876543210", title="Returns 2", text="14 days")
    ledger.take(Batch(facts=in_log([*history(), hostile, again]), letters=[], marks=[]))
    publish_analytics(ledger.reader(), tmp_path / "analytics.duckdb", at(9999), LIVE)
    ledger.close()
    return tmp_path / "analytics.duckdb"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments], catch_exceptions=False)


def test_the_week_of_the_copy_is_summed_up(copy: Path) -> None:
    told = weekly(copy, None)
    with duckdb.connect(str(copy), read_only=True) as reader:
        answers, up, down, uncovered = reader.execute(
            "SELECT count(*), count(*) FILTER (thumb = 'up'), count(*) FILTER (thumb = 'down'), count(*) FILTER (NOT covered) FROM answers"
        ).fetchall()[0]
    figures = told["figures"]
    assert (told["week"], told["since"].date().isoformat()) == ("2026-W19", "2026-05-04")
    assert (figures["questions"], figures["answers"], figures["thumbs_up"], figures["thumbs_down"]) == (80, answers, up, down)
    assert figures["unanswered_share"] == uncovered / answers == 0.1
    assert figures["satisfaction"] == up / (up + down)
    assert sum(day["answers"] for day in told["days"]) == 80
    assert [day["day"] for day in told["days"]] == ["2026-05-04", "2026-05-05"]
    assert sum(row["cases"] for row in told["bad_cases_by_fault"]) == figures["bad_cases"] == 3
    assert sum(row["pairs"] for row in told["pairs_by_source"]) == figures["pairs"] > 0
    assert [(run["run_id"], run["state"]) for run in told["runs"]] == [("r1", "passed"), ("r2", "failed")]
    assert [(one["experiment_id"], one["verdict"]) for one in told["experiments"]] == [("x1", "PROMOTE"), ("x2", "CONTINUE")]
    assert [(row["policy_id"], row["withdrawn"]) for row in told["policy_changes"]] == [
        ("returns", False), ("returns", False), ("old", False), ("old", True), ("bad", False),
    ]  # fmt: skip
    assert told["week_before"]["answers"] == 0


def test_the_next_week_shows_what_is_still_open_and_what_was_before(copy: Path) -> None:
    told = weekly(copy, "2026-W20")
    assert told["figures"]["answers"] == 0
    assert told["figures"]["satisfaction"] is None
    assert told["week_before"]["answers"] == 80
    assert [one["experiment_id"] for one in told["experiments"]] == ["x2"]
    assert told["runs"] == []


def test_the_page_shows_it_and_runs_nothing(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "week.html"
    result = call("--out", str(out))
    assert (result.exit_code, result.stdout) == (0, f"{out} written\n")
    page = out.read_text(encoding="utf-8")
    assert "<h1>Week 2026-W19</h1>" in page
    for title in ("Bad cases by whose fault they are", "Preference pairs by source", "Training runs", "Experiments", "Policy changes"):
        assert f"<h2>{title}</h2>" in page
    assert page.count("data:image/png;base64,") == 3
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert '<tr class="bad"><td>r2</td>' in page


def test_json_is_for_scripts_also_beside_a_page(copy: Path, tmp_path: Path) -> None:
    told = json.loads(call("--json", "--week", "2026-W19", "--out", str(tmp_path / "w.html")).stdout)
    assert (told["since"], told["figures"]["questions"]) == ("2026-05-04T00:00:00+00:00", 80)
    assert (tmp_path / "w.html").exists()


def test_a_week_without_anything_is_a_page_too(copy: Path, tmp_path: Path) -> None:
    assert call("--week", "2020-W01", "--out", str(tmp_path / "w.html")).exit_code == 0
    assert "nobody rated" in (tmp_path / "w.html").read_text(encoding="utf-8")


def test_a_publisher_may_replace_the_copy_while_it_is_read(copy: Path) -> None:
    with duckdb.connect(str(copy), read_only=True):
        assert weekly(copy, "2026-W19")["figures"]["answers"] == 80


@pytest.mark.parametrize("week", ["2026-W54", "2026-19", "last", "2026-W00"])
def test_what_is_no_week_is_told(copy: Path, week: str) -> None:
    with pytest.raises(PermanentError, match="is no ISO week, such as 2026-W19"):
        weekly(copy, week)


def test_what_is_missing_is_told(copy: Path, tmp_path: Path) -> None:
    assert START.date().isoformat() == "2026-05-04"
    with pytest.raises(PermanentError, match="--out FILE.html, or print"):
        call()
    with pytest.raises(PermanentError, match="name an .html file"):
        call("--out", str(tmp_path / "week.pdf"))
    with pytest.raises(PermanentError, match="is not a folder"):
        call("--out", str(tmp_path / "nowhere" / "week.html"))
    copy.write_bytes(b"no database")
    with pytest.raises(PermanentError, match="cannot be read as the analysts' copy"):
        call("--json")
    copy.unlink()
    with pytest.raises(PermanentError, match="the loop publishes it"):
        call("--json")
