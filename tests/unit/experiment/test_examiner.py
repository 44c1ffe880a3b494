"""Contracts from settings."""

import pytest
from pydantic import ValidationError

from csqa_loop.demo.scenario_files import packaged
from csqa_loop.errors import ConfigurationError
from csqa_loop.experiment.contract import contract_of
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.experiment.rules.error_control import next_alpha
from csqa_loop.experiment.rules.feasibility import RecentLatency, short_window
from csqa_loop.experiment.state import recent_latency
from csqa_loop.settings import ExperimentSettings, MetricSettings, load_settings
from csqa_loop.settings.metrics import COUNTS, SHIPPED, fault
from tests import events as make
from tests.boards import Board, ended_experiments


def metric(**changes: object) -> MetricSettings:
    return MetricSettings.model_validate(
        {"name": "brevity", "numerator": "completion_tokens", "denominator": "answers", "direction": "down", "kind": "ratio"} | changes
    )


def guardrails(settings: ExperimentSettings) -> dict[str, float]:
    return {guardrail.metric: guardrail.margin for guardrail in contract_of(settings).guardrails}


def test_shipped_metrics_need_no_settings():
    contract = contract_of(ExperimentSettings())
    assert contract.primary == "satisfaction"
    assert {g.metric for g in contract.guardrails} == {"handoff", "error", "latency", "rating", "unanswered", "answer_length"}
    assert {m.name for m in contract.metrics} == set(SHIPPED)
    assert contract.false_discovery_target is None


def test_the_demos_contract_can_be_fulfilled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CSQA_CONFIG", str(packaged("demo.toml")))
    assert contract_of(load_settings().experiment).burn_in_users == 100


def test_a_declared_metric_joins_or_replaces_a_shipped_one():
    settings = ExperimentSettings(
        metrics=(metric(role="guardrail", margin=12.0), metric(name="latency", numerator="latency_ms", role="guardrail", margin=90.0))
    )
    assert guardrails(settings) | {"brevity": 12.0, "latency": 90.0} == guardrails(settings)
    assert "answer_length" not in guardrails(ExperimentSettings(metrics=(metric(name="answer_length"),)))


def test_the_primary_is_no_guardrail():
    assert "handoff" not in guardrails(ExperimentSettings(primary="handoff"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"numerator": "smiles"}, "'smiles', which nobody records; use one of users, exposures"),
        ({"denominator": "smiles"}, "nobody records"),
        ({"kind": "mean"}, "its denominator is 'users'"),
        ({"kind": "proportion"}, "no part of 'answers'; make it a ratio"),
        ({"kind": "proportion", "numerator": "errors"}, "divide by exposures"),
        ({"kind": "quantile"}, "between 0 and 1"),
        ({"quantile": 0.5}, "belongs to kind 'quantile'"),
        ({"role": "guardrail"}, "only a guardrail, has a margin"),
        ({"margin": 1.0}, "only a guardrail, has a margin"),
        ({"kind": "quantile", "quantile": 0.5, "role": "guardrail", "margin": 1.0}, "can be reported and not judged"),
        ({"name": "Brevity"}, "pattern"),
    ],
)
def test_a_metric_that_cannot_be_counted_is_refused(changes: dict, says: str):
    with pytest.raises(ValidationError, match=says):
        metric(**changes)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"primary": "happiness"}, "primary is 'happiness'; .* would be right: satisfaction"),
        ({"primary": "latency_p95"}, "a declared metric that is no quantile"),
        ({"metrics": (metric(), metric())}, "declared twice"),
    ],
)
def test_contradictions_are_refused(settings: dict, says: str):
    with pytest.raises(ValidationError, match=says):
        ExperimentSettings(**settings)


def test_every_shipped_metric_can_be_counted():
    assert [fault(shipped) for shipped in SHIPPED.values()] == [None] * len(SHIPPED)
    assert all(shipped.numerator in COUNTS for shipped in SHIPPED.values())


def test_a_margin_that_can_never_be_shown_is_refused_with_the_numbers():
    impossible = ExperimentSettings(burn_in_users=100, max_users=300, error_margin=0.01)
    with pytest.raises(
        ConfigurationError, match=r"'error' has margin 0\.01.* max_users = 300 .*Take a margin above 0\.01512, or max_users"
    ) as refused:
        contract_of(impossible)
    needed = int(str(refused.value).rsplit(" ", 1)[1])
    assert contract_of(impossible.model_copy(update={"max_users": needed}))
    with pytest.raises(ConfigurationError):
        contract_of(impossible.model_copy(update={"max_users": needed - 1}))


async def test_alpha_stands_for_itself_unless_errors_are_controlled_over_experiments():
    board = Board()
    board.hold(*ended_experiments(True, False))
    plain = contract_of(ExperimentSettings())
    assert await Examiner(board, 0, 0).promised(plain) == plain
    online = contract_of(ExperimentSettings(error_control="online-fdr", alpha=0.1))
    promised = await Examiner(board, 0, 0).promised(online)
    assert promised.alpha == next_alpha([True, False], 0.1)
    assert promised.false_discovery_target == 0.1


@pytest.mark.parametrize(
    ("answers", "p95", "refused"), [(200, 6.6, False), (200, 6.7, True), (19, 60.0, False), (20, 60.0, True), (0, 0.0, False)]
)
def test_a_window_has_room_for_three_slow_answers(answers: int, p95: float, refused: bool):
    contract = contract_of(ExperimentSettings()).model_copy(update={"window_seconds": 20.0})
    assert (short_window(contract, RecentLatency(answers, p95)) is not None) == refused


async def test_the_latency_of_late_is_that_of_the_last_answers():
    board = Board()
    old = [make.answer(number, second=number / 10, latency_ms=9000.0) for number in range(100)]
    board.hold(*old, *(make.answer(number, second=number / 10, latency_ms=100.0 + number % 200) for number in range(200, 400)))
    recent = await board.ask(recent_latency)
    assert (recent.answers, recent.p95_seconds) == (200, pytest.approx(0.2891, abs=0.001))
    assert (await Board().ask(recent_latency)).answers == 0
