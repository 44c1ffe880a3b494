"""`csqa experiment report` against a console of the test's own."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from csqa_loop.analytics.experiment_page import experiment_report
from csqa_loop.commands import experiment
from csqa_loop.commands.experiment import app
from csqa_loop.errors import PermanentError
from csqa_loop.experiment.status import ExperimentStatus
from tests.console_answers import EXPERIMENT, telling
from tests.shop_history import CONTRACT, estimates


def told(verdict: str = "PROMOTE", **more: Any) -> ExperimentStatus:
    return ExperimentStatus.model_validate(EXPERIMENT | {
        "id": "x<1>", "run_id": "r1", "alpha": 0.05, "champion": "base", "challenger": "a-0123456789abcdef", "share": 0.4,
        "n": {"challenger": 60, "control": 60}, "exposed": {"challenger": 1234, "control": 65}, "excluded": {"seen_in_both_arms": 3},
        "verdict": verdict, "stopped_by": "lower bound of satisfaction", "as_of": "2026-05-05T00:00:00+00:00",
        "estimates": [row.model_dump(mode="json") for row in estimates()], "contract": CONTRACT.model_dump(mode="json"),
    } | more)  # fmt: skip


def test_the_page_has_verdict_arms_bounds_and_who_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    monkeypatch.setattr(experiment, "ask_console", telling(lambda path: asked.append(path) or told().model_dump(mode="json")))
    out = tmp_path / "x.html"
    result = CliRunner().invoke(app, ["report", "x<1>", "--out", str(out)], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, f"{out} written\n")
    assert asked == ["/v1/experiments/x%3C1%3E"]
    page = out.read_text(encoding="utf-8")
    assert '<p class="verdict good">PROMOTE: lower bound of satisfaction</p>' in page
    assert "x&lt;1&gt;" in page
    assert "3 users who saw both arms" in page
    assert '<td>challenger</td><td>a-0123456789abcdef</td><td class="number">1,234</td><td class="number">60</td>' in page
    assert "<td>handoff</td><td>guardrail, may lose 0.1</td><td>difference</td>" in page
    assert page.count("data:image/png;base64,") == 1


@pytest.mark.parametrize(("verdict", "good"), [("PROMOTE", True), ("ROLL_BACK", False), ("INVALID", False), ("CONTINUE", None)])
def test_the_verdict_has_its_tone(verdict: str, good: bool | None) -> None:
    assert experiment_report(told(verdict)).good is good


def test_an_experiment_nobody_looked_at_yet_is_a_page_too() -> None:
    report = experiment_report(told("CONTINUE", stopped_by="", as_of=None, estimates=[]))
    assert report.verdict == "CONTINUE: not looked at yet"
    assert [section.title for section in report.sections] == ["Arms"]


def test_the_page_is_refused_before_the_loop_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "ask_console", lambda *_: pytest.fail("asked"))
    with pytest.raises(PermanentError, match="name an .html file"):
        CliRunner().invoke(app, ["report", "x1", "--out", str(tmp_path / "x")], catch_exceptions=False)
