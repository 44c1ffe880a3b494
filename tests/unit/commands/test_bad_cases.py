"""`csqa bad-cases report` against a console of the test's own: what is asked, what is shown, what is drawn."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from typer.testing import CliRunner

from csqa_loop.commands import bad_cases
from csqa_loop.commands.bad_cases import app, moment_of
from csqa_loop.errors import PermanentError
from tests.console_answers import telling

NOW = datetime(2026, 5, 11, 12, 0, tzinfo=UTC)
REPORT: dict[str, Any] = {
    "since": "2026-05-04T12:00:00Z", "until": None, "cases": 30, "answers": 120,
    "by_fault": [{"name": "generation", "cases": 20, "share": 0.6667}, {"name": "missing_policy", "cases": 10, "share": 0.3333}],
    "by_reason": [{"name": "wrong", "cases": 30, "share": 1.0}], "by_category": [{"name": "returns", "cases": 30, "share": 1.0}],
    "by_policy": [{"name": "returns", "cases": 20, "share": 0.6667}, {"name": "", "cases": 10, "share": 0.3333}],
    "faults_by_policy": [
        {"policy_id": "returns", "cases": 20, "faults": {"generation": 20}}, {"policy_id": "", "cases": 10, "faults": {"missing_policy": 10}},
    ],
    "clusters": [
        {"size": 20 - n, "question": f"Boots [{n}]?", "wordings": 2, "policies": ["returns"], "section": "Footwear", "faults": {"generation": 20 - n}}
        for n in range(15)
    ],
    "most_asked": [{"question": "Boots?", "answers": 50, "thumbs_up": 30, "thumbs_down": 20, "bad_cases": 1}],
    "knowledge_faults": [
        {
            "fault": "missing_policy", "policy_id": "", "section": "", "missing": "no current policy is about this question", "missing_numbers": [],
            "cases": 10, "question": "Do you mend oars?", "message_id": "m1", "last_at": "2026-05-10T12:00:00Z",
        }
    ],
}  # fmt: skip
Report = Callable[..., str]


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Report:
    """Runs the command; the console tells `told`."""

    def run(*arguments: str, told: dict[str, Any] = REPORT) -> str:
        monkeypatch.setattr(bad_cases, "ask_console", telling(lambda _: told))
        monkeypatch.setattr("csqa_loop.commands.bad_cases.now", lambda: NOW)
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.chdir(tmp_path)
        result = CliRunner().invoke(app, ["report", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", datetime(2026, 5, 4, 12, 0, tzinfo=UTC)),
        ("12h", datetime(2026, 5, 11, 0, 0, tzinfo=UTC)),
        ("2w", datetime(2026, 4, 27, 12, 0, tzinfo=UTC)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T08:00:00+08:00", datetime(2026, 5, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_ago_or_a_date(text: str, moment: datetime) -> None:
    assert moment_of("--since", text, NOW) == moment


@pytest.mark.parametrize("text", ["soon", "7", "7m", "2026-13-01", "-7d", "99999999w", ""])
def test_a_time_that_is_neither_is_named(text: str) -> None:
    with pytest.raises(PermanentError, match="--since"):
        moment_of("--since", text, NOW)


def test_the_period_is_asked_of_the_console(monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    report()
    paths: list[str] = []
    monkeypatch.setattr(bad_cases, "ask_console", telling(lambda path: paths.append(path) or REPORT))
    CliRunner().invoke(app, ["report", "--since", "30d", "--until", "1d", "--json"], catch_exceptions=False)
    CliRunner().invoke(app, ["report", "--json"], catch_exceptions=False)
    asked = [dict(parse_qsl(urlsplit(path).query)) for path in paths]
    assert paths[0].startswith("/v1/bad-cases/report?")
    assert asked == [
        {"since": "2026-04-11T12:00:00+00:00", "until": "2026-05-10T12:00:00+00:00"}, {"since": "2026-05-04T12:00:00+00:00"},
    ]  # fmt: skip


def test_people_read_tables_and_are_told_what_is_cut(report: Report) -> None:
    shown = report("--limit", "3")
    assert "30 bad cases (25.0% of 120 answers) since 2026-05-04 12:00 UTC" in shown
    for words in (
        "generation",
        "67%",
        "(no policy)",
        "write it",
        "Do you mend oars?",
        "Boots [2]?",
        "12 more: --limit or --json shows them",
    ):
        assert words in shown
    assert "Boots [3]?" not in shown


def test_scripts_read_the_whole_report(report: Report) -> None:
    assert json.loads(report("--json", "--limit", "1")) == REPORT


def test_a_period_without_cases_is_no_error(report: Report) -> None:
    nothing: dict[str, Any] = {name: [] for name, value in REPORT.items() if isinstance(value, list)}
    shown = report(told=REPORT | nothing | {"cases": 0, "answers": 0})
    assert shown == "0 bad cases since 2026-05-04 12:00 UTC\n"


def test_the_plot_counts_faults_and_policies(report: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report("--plot", "faults.png")
    assert (tmp_path / "faults.png").read_bytes().startswith(b"\x89PNG")
    drawn: dict[str, float] = {}
    monkeypatch.setattr("csqa_loop.analytics.plots.bars", lambda values, **_: drawn.update(values) or b"")
    report("--plot", "faults.png")
    assert drawn == {"fault: generation": 20, "fault: missing_policy": 10, "policy: returns": 20, "policy: (no policy)": 10}


def test_a_plot_of_many_policies_stays_readable(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, float] = {}
    monkeypatch.setattr("csqa_loop.analytics.plots.bars", lambda values, **_: drawn.update(values) or b"")
    report("--plot", "faults.png", told=REPORT | {"by_policy": [{"name": f"p{n}", "cases": 2, "share": 0.0} for n in range(50)]})
    assert len(drawn) == 2 + 21
    assert drawn["policy: others"] == 60


@pytest.mark.parametrize(("name", "words"), [("faults.svg", r"name a \.png file"), ("no/such/faults.png", "is not a folder")])
def test_a_plot_that_cannot_be_written_is_refused_before_anything_is_asked(report: Report, name: str, words: str) -> None:
    with pytest.raises(PermanentError, match=words):
        report("--plot", name, told={})
