"""summary.json keeps its keys, and says when an outcome is the expected one."""

import io
import json
import random

import pytest
from pydantic import ValidationError

from csqa_loop.demo.sabotage import wrong_correction
from csqa_loop.demo.scenario_files import load_scenario, packaged
from csqa_loop.demo.summary import ExperimentReport, Score, Summary
from csqa_loop.demo.view import DemoView
from csqa_loop.evidence.rules.grading import judge
from csqa_loop.experiment.status import ExperimentStatus
from tests.console_answers import EXPERIMENT

ADAPTER = "a-" + "1" * 16
ROUND = {
    "champion": {"before": "base", "after": ADAPTER},
    "trained_correct": {"before": {"fraction": 0.5, "correct": 1, "asked": 2}, "after": {"fraction": 1.0, "correct": 2, "asked": 2}},
    "holdout_correct": {"before": {"fraction": 0.5, "correct": 1, "asked": 2}, "after": None},
    "pairs": 20,
    "train_seconds": 250.5,
    "first_loss": 0.6931,
    "gate": {"passed": True, "checks": [{"name": "preference accuracy", "passed": True}]},
    "experiment": {
        "id": "x-1",
        "alpha": 0.05,
        "n": 210,
        "estimate": 0.2,
        "lower": 0.01,
        "upper": 0.4,
        "verdict": "PROMOTE",
        "stopped_by": "primary",
        "arms": {"challenger": {"users": 105, "exposed": 120}, "control": {"users": 105, "exposed": 118}},
    },
    "run_id": "run-1",
    "run_state": "passed",
}
SUMMARY = {
    "scenario": "harbour-shop",
    "seed": 1,
    "mode": "normal",
    "rounds": [ROUND],
    "final_champion": ADAPTER,
    "resident_adapters": [ADAPTER],
    "sent": {"chats": 10, "feedback": 8, "bad_cases": 2},
    "recorded": {"chats": 10, "feedback": 8, "bad_cases": 2, "dead_letters": 0},
    "seconds": 600.0,
    "setup_seconds": 60.0,
}


def test_the_keys_are_the_contract_s() -> None:
    told = json.loads(Summary.model_validate(SUMMARY).model_dump_json())
    assert {"scenario", "seed", "rounds", "final_champion", "resident_adapters", "sent", "recorded", "seconds"} <= set(told)
    (one,) = told["rounds"]
    wanted = {"champion", "trained_correct", "holdout_correct", "pairs", "train_seconds", "first_loss", "gate", "experiment"}
    assert wanted <= set(one)
    assert {"id", "alpha", "n", "estimate", "lower", "upper", "verdict", "stopped_by", "arms"} == set(one["experiment"])
    assert {"chats", "feedback", "bad_cases", "dead_letters"} == set(told["sent"]) == set(told["recorded"])
    with pytest.raises(ValidationError):
        Summary.model_validate(SUMMARY | {"colour": "red"})


@pytest.mark.parametrize(
    ("mode", "change", "expected"),
    [
        ("normal", {}, True),
        ("normal", {"resident_adapters": []}, False),
        ("normal", {"final_champion": "base"}, False),
        ("normal", {"rounds": [ROUND | {"experiment": None}]}, False),
        ("sabotage", {}, False),
        ("placebo", {"rounds": [ROUND | {"champion": {"before": "base", "after": "base"}}], "final_champion": "base"}, True),
        ("placebo", {"rounds": [], "final_champion": "base"}, False),
    ],
)
def test_only_the_expected_outcome_is_one(mode: str, change: dict[str, object], expected: bool) -> None:
    assert Summary.model_validate(SUMMARY | change).as_expected(mode) is expected


def test_an_experiment_s_report_carries_the_counts_of_its_arms() -> None:
    row = {"metric": "satisfaction", "users": 105, "denominator": 105.0}
    told = EXPERIMENT | {
        "n": {"challenger": 105, "control": 104}, "exposed": {"challenger": 120, "control": 118},
        "estimates": [row | {"arm": "challenger", "numerator": 80.0, "estimate": 0.76}, {"metric": "latency", "arm": "control", "users": 104, "numerator": 9.0}],
    }  # fmt: skip
    report = ExperimentReport.of(ExperimentStatus.model_validate(told))
    assert report.n == 209
    assert report.arms.challenger.numerator == 80.0
    assert report.arms.challenger.exposed == 120
    assert report.arms.control.users == 104
    assert report.arms.control.numerator is None


def test_a_fraction_comes_with_its_counts() -> None:
    assert Score.of([True, False, True]).model_dump() == {"fraction": 0.6667, "correct": 2, "asked": 3}


def test_without_a_terminal_the_view_prints_plain_lines() -> None:
    stream = io.StringIO()
    with DemoView("title", stream) as view:
        view.step(1, "measure before")
        view.detail("not yet said: a step has just begun")
        view.result("[all] done")
        view.end(Summary.model_validate(SUMMARY), expected=True)
    text = stream.getvalue()
    assert "round 1: measure before: [all] done" in text
    assert "not yet said" not in text
    assert "PROMOTE" in text
    assert "as expected" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("name", ["harbour-shop", "harbour-shop-zh"])
def test_no_sabotaged_correction_is_right(name: str) -> None:
    scenario = load_scenario(packaged(f"{name}/scenario.yaml"))
    randomness = random.Random(7)
    for question in scenario.trainable:
        for _ in range(20):
            assert not judge(wrong_correction(scenario, question, randomness), question, scenario.language)
