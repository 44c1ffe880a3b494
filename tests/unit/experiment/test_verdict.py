"""Arms and verdicts."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from csqa_loop.answering.rules.arms import arm_of, bucket_of
from csqa_loop.errors import PermanentError
from csqa_loop.events import ExperimentContract, GuardrailContract, MetricContract
from csqa_loop.experiment.rules.comparison import HARM_FLOOR, ArmTotals, Quantile, definitions
from csqa_loop.experiment.rules.statistics import MetricTotals
from csqa_loop.experiment.rules.verdict import Analysis, analyse

USERS = [f"u-{number:016x}" for number in range(200_000)]


# --- arms -----------------------------------------------------------------------------------------------------------


def test_buckets_are_uniform():
    buckets = np.array([bucket_of("salt", user) for user in USERS])
    assert stats.kstest(buckets, "uniform").pvalue > 1e-4
    counts, _ = np.histogram(buckets, bins=100, range=(0, 1))
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_arms_are_one_to_one_at_every_share(share: float):
    arms = [arm_of("salt", user, share) for user in USERS]
    challenger, control = arms.count("challenger"), arms.count("control")
    assert stats.binomtest(challenger, challenger + control).pvalue > 1e-4
    assert (challenger + control) / len(USERS) == pytest.approx(share, abs=0.005)


def test_experiments_are_independent_of_each_other():
    first = [arm_of("salt one", user, 1.0) == "challenger" for user in USERS]
    second = [arm_of("salt two", user, 1.0) == "challenger" for user in USERS]
    table = np.histogram2d(first, second, bins=2)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-4


@given(user=st.text(max_size=40), salt=st.text(max_size=200), shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_growing_share_moves_nobody_between_arms(user: str, salt: str, shares: tuple[float, float]):
    before, after = (arm_of(salt, user, share) for share in sorted(shares))
    assert before in ("champion", after)


@given(user=st.text(max_size=40))
def test_share_0_exposes_nobody_and_share_1_everybody(user: str):
    assert arm_of("salt", user, 0.0) == "champion"
    assert arm_of("salt", user, 1.0) != "champion"


def test_another_process_assigns_the_same():
    program = "from csqa_loop.answering.rules.arms import bucket_of; print([bucket_of('盐', f'用户{n}') for n in range(5)])"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, env={"PYTHONHASHSEED": "7"}
    )
    assert said.stdout.strip() == str([bucket_of("盐", f"用户{number}") for number in range(5)])


def test_assignment_is_a_public_contract():
    # A change of the hash would move every user of a running experiment.
    assert bucket_of("salt", "u-0000000000000001") == 0.08470783947787563


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float):
    with pytest.raises(ValueError, match="a share lies in"):
        arm_of("salt", "user", share)


# --- verdicts -------------------------------------------------------------------------------------------------------

CONTRACT = ExperimentContract(
    primary="satisfaction",
    guardrails=(
        GuardrailContract(metric="handoff", margin=0.1),
        GuardrailContract(metric="error", margin=0.1),
        GuardrailContract(metric="latency", margin=300.0),
    ),
    alpha=0.05, window_seconds=20, burn_in_users=100, max_users=300, max_seconds=3600, ramp=(1.0,), ramp_users=100,
)  # fmt: skip


def share_of(users: int, rate: float) -> MetricTotals:
    hits = round(users * rate)
    return MetricTotals.of([(1.0, 1.0)] * hits + [(0.0, 1.0)] * (users - hits))


def latencies(users: int, mean: float) -> MetricTotals:
    return MetricTotals.of((mean + (100 if number % 2 else -100), 1.0) for number in range(users))


def arm(name, users=200, up=0.55, handoff=0.05, error=0.0, latency=800.0, without=()) -> ArmTotals:
    metrics = {
        "satisfaction": share_of(users, up), "handoff": share_of(users, handoff), "error": share_of(users, error),
        "latency": latencies(users, latency),
    }  # fmt: skip
    return ArmTotals(name, users, {key: value for key, value in metrics.items() if key not in without})


def look(challenger: dict, control: dict | None = None, exposed=None, elapsed=60.0, contract=CONTRACT, **more) -> Analysis:
    one, other = arm("challenger", **challenger), arm("control", **(control or {}))
    return analyse(contract, one, other, exposed or (one.users, other.users), elapsed, **more)


@pytest.mark.parametrize(
    ("verdict", "says", "case"),
    [
        ("CONTINUE", "satisfaction", {"challenger": {}}),
        ("PROMOTE", "lower bound of satisfaction", {"challenger": {"up": 0.8}}),
        ("ROLL_BACK", "upper bound of satisfaction", {"challenger": {"up": 0.3}}),
        ("ROLL_BACK", "lower bound of handoff", {"challenger": {"up": 0.8, "handoff": 0.4}}),
        ("ROLL_BACK", "lower bound of error", {"challenger": {"up": 0.8, "error": 0.4}}),
        ("ROLL_BACK", "lower bound of latency (challenger minus control) is +3", {"challenger": {"up": 0.8, "latency": 1200}}),
        ("CONTINUE", "upper bound of handoff", {"challenger": {"up": 0.8, "handoff": 0.15}}),
        ("CONTINUE", "upper bound of latency", {"challenger": {"up": 0.8, "latency": 1090}}),
        ("INVALID", "sample ratio: 300 challenger and 150 control", {"challenger": {"up": 0.8}, "exposed": (300, 150)}),
        ("INVALID", "sample ratio", {"challenger": {"up": 0.2}, "exposed": (300, 150), "elapsed": 1e9}),
        ("CONTINUE", "a split that is not in doubt: 300 challenger and 220 control", {"challenger": {"up": 0.8}, "exposed": (300, 220)}),
        ("ROLL_BACK", "satisfaction", {"challenger": {"up": 0.2}, "exposed": (300, 220)}),
        ("INCONCLUSIVE", "still missing: a split", {"challenger": {"up": 0.8}, "exposed": (300, 220), "elapsed": 3600.0}),
        (
            "INCONCLUSIVE",
            "still missing: a split",
            {"challenger": {"users": 300, "up": 0.8}, "control": {"users": 300}, "exposed": (520, 640)},
        ),
        ("CONTINUE", "a split that is not in doubt", {"challenger": {"up": 0.8}, "exposed": (300, 258)}),
        ("PROMOTE", "satisfaction", {"challenger": {"up": 0.8}, "exposed": (300, 272)}),
        ("CONTINUE", "burn-in: 90 of 100", {"challenger": {"users": 90, "up": 0.9}, "exposed": (200, 200)}),
        ("CONTINUE", "burn-in: 90 of 100", {"challenger": {"up": 0.9}, "control": {"users": 90}, "exposed": (200, 200)}),
        ("ROLL_BACK", "satisfaction", {"challenger": {"users": 40, "up": 0.1}, "control": {"users": 40, "up": 0.9}}),
        ("CONTINUE", "burn-in", {"challenger": {"users": 20, "up": 0.0}, "control": {"users": 20, "up": 1.0}}),
        ("INCONCLUSIVE", "max_users", {"challenger": {"users": 300}, "control": {"users": 300}}),
        ("CONTINUE", "satisfaction", {"challenger": {"users": 310}, "control": {"users": 299}}),
        ("INCONCLUSIVE", "max_seconds", {"challenger": {}, "elapsed": 3600.0}),
        ("PROMOTE", "satisfaction", {"challenger": {"up": 0.8}, "elapsed": 3600.0}),
        ("PROMOTE", "satisfaction", {"challenger": {"users": 300, "up": 0.8}, "control": {"users": 300}}),
        ("ROLL_BACK", "satisfaction", {"challenger": {"users": 300, "up": 0.3}, "control": {"users": 300}, "elapsed": 1e9}),
        ("CONTINUE", "challenger: handoff has no user", {"challenger": {"up": 0.8, "without": ("handoff",)}}),
        ("CONTINUE", "control: latency has no user", {"challenger": {"up": 0.8}, "control": {"without": ("latency",)}}),
        ("CONTINUE", "satisfaction has no user", {"challenger": {"without": ("satisfaction",)}}),
        ("INCONCLUSIVE", "satisfaction has no user", {"challenger": {"without": ("satisfaction",)}, "elapsed": 3600.0}),
        ("CONTINUE", "ramp", {"challenger": {"up": 0.8}, "share_is_final": False}),
        ("ROLL_BACK", "satisfaction", {"challenger": {"up": 0.3}, "share_is_final": False}),
    ],
)
def test_the_rules(verdict: str, says: str, case: dict):
    analysis = look(**case)
    assert analysis.verdict == verdict, analysis.stopped_by
    assert says in analysis.stopped_by


def test_no_user_at_all_is_a_look_too():
    nobody = ArmTotals("challenger", 0, {}), ArmTotals("control", 0, {})
    analysis = analyse(CONTRACT, *nobody, (0, 0), 0.0)
    assert analysis.verdict == "CONTINUE"
    assert {missing.metric for missing in analysis.missing} == {"satisfaction", "handoff", "error", "latency"}
    assert all(estimate.estimate is None and estimate.lower is None for estimate in analysis.estimates)
    assert analyse(CONTRACT, *nobody, (0, 0), 3601.0).verdict == "INCONCLUSIVE"


def test_constant_latency_is_not_certainty():
    same = MetricTotals.of([(800.0, 1.0)] * 200)
    one, other = arm("challenger", up=0.8), arm("control")
    frozen = [ArmTotals(side.arm, side.users, {**side.metrics, "latency": same}) for side in (one, other)]
    analysis = analyse(CONTRACT, frozen[0], frozen[1], (200, 200), 60.0)
    assert analysis.verdict == "CONTINUE"
    assert "no variance is not certainty" in analysis.stopped_by


def test_everybody_happy_in_both_arms_promotes_nobody():
    assert look({"up": 1.0, "users": 250}, {"up": 1.0, "users": 250}).verdict == "CONTINUE"


def test_an_unknown_metric_is_named():
    with pytest.raises(PermanentError, match="'happiness' is not known; use one of satisfaction"):
        look({}, contract=CONTRACT.model_copy(update={"primary": "happiness"}))


def test_estimates_carry_arms_and_difference_in_the_metrics_own_unit():
    analysis = look({"up": 0.8, "latency": 900.0})
    rows = {(row.metric, row.arm): row for row in analysis.estimates}
    assert rows["satisfaction", "challenger"].numerator == 160
    assert rows["satisfaction", "challenger"].denominator == 200
    assert rows["satisfaction", "control"].estimate == pytest.approx(0.55)
    assert rows["latency", "difference"].estimate == pytest.approx(100.0)
    difference = rows["satisfaction", "difference"]
    assert difference.users == 400
    assert difference.estimate == pytest.approx(0.25)
    assert difference.lower < 0.25 < difference.upper
    assert 0.0 <= rows["error", "control"].lower <= rows["error", "control"].upper <= 1.0


def test_metrics_outside_the_contract_are_reported_and_decide_nothing():
    contract = CONTRACT.model_copy(update={"guardrails": ()})
    analysis = look({"up": 0.8, "handoff": 0.9}, contract=contract)
    assert analysis.verdict == "PROMOTE"
    assert ("handoff", "difference") in {(row.metric, row.arm) for row in analysis.estimates}


RANK = {"ROLL_BACK": 0, "CONTINUE": 1, "PROMOTE": 2}


@settings(deadline=None)
@given(up=st.floats(0.2, 1), handoff=st.floats(0, 0.6), margins=st.tuples(st.floats(0.01, 0.9), st.floats(0.01, 0.9)))
def test_a_wider_margin_never_makes_the_verdict_worse(up: float, handoff: float, margins: tuple[float, float]):
    ranks = []
    for margin in sorted(margins):
        contract = CONTRACT.model_copy(update={"guardrails": (GuardrailContract(metric="handoff", margin=margin),)})
        ranks.append(RANK[look({"up": up, "handoff": handoff}, contract=contract).verdict])
    assert ranks[0] <= ranks[1]


@settings(deadline=None)
@given(rates=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_more_thumbs_up_never_make_the_verdict_worse(rates: tuple[float, float]):
    low, high = (RANK[look({"up": rate}).verdict] for rate in sorted(rates))
    assert low <= high


@settings(deadline=None)
@given(up=st.floats(0, 1), users=st.integers(0, HARM_FLOOR - 1))
def test_too_few_users_decide_nothing(up: float, users: int):
    assert look({"up": up, "users": users}, {"up": 1 - up, "users": users}).verdict == "CONTINUE"


# --- kinds of metrics -------------------------------------------------------------------------------------------------


def test_zero_errors_pass_a_margin_that_pseudo_users_could_not_show():
    contract = CONTRACT.model_copy(update={"guardrails": (GuardrailContract(metric="error", margin=0.03),)})
    assert look({"up": 0.8}, contract=contract).verdict == "PROMOTE"
    narrower = CONTRACT.model_copy(update={"guardrails": (GuardrailContract(metric="error", margin=0.02),)})
    assert look({"up": 0.8}, contract=narrower).verdict == "CONTINUE"


def test_a_user_with_many_events_is_not_many_users():
    """Thirty users who each failed or succeeded ten times say no more than thirty."""
    once, often = ([(float(number < 2), 1.0) for number in range(200)], [(10.0 * (number < 2), 10.0) for number in range(200)])
    bounds = []
    for events in (once, often):
        metrics = {"satisfaction": share_of(200, 0.8), "error": MetricTotals.of(events)}
        contract = CONTRACT.model_copy(update={"guardrails": (GuardrailContract(metric="error", margin=0.1),)})
        other = ArmTotals("control", 200, {**metrics, "error": share_of(200, 0.0)})
        analysis = analyse(contract, ArmTotals("challenger", 200, metrics), other, (200, 200), 1.0)
        bounds.append(analysis.guardrails[0].interval)
    assert (bounds[0].lower, bounds[0].upper) == pytest.approx((bounds[1].lower, bounds[1].upper))


def test_a_contract_with_metrics_of_its_own_is_judged_by_them():
    terms = {"numerator": "completion_tokens", "denominator": "answers", "kind": "ratio"}
    metrics = (
        MetricContract(name="brevity", higher_is_better=False, **terms),
        MetricContract(name="satisfaction", numerator="ups", denominator="thumbs", higher_is_better=True, kind="proportion"),
    )
    contract = CONTRACT.model_copy(update={"metrics": metrics, "guardrails": (GuardrailContract(metric="brevity", margin=20.0),)})
    one, other = ({"satisfaction": share_of(200, up), "brevity": latencies(200, mean)} for up, mean in ((0.8, 500.0), (0.55, 400.0)))
    analysis = analyse(contract, ArmTotals("challenger", 200, one), ArmTotals("control", 200, other), (200, 200), 1.0)
    assert analysis.verdict == "ROLL_BACK"
    assert "lower bound of brevity" in analysis.stopped_by


def test_quantiles_are_reported_and_never_judged():
    one, other = arm("challenger", up=0.8), arm("control")
    sides = [ArmTotals(s.arm, s.users, s.metrics, {"latency_p95": Quantile(200, v)}) for s, v in ((one, 950.0), (other, 900.0))]
    analysis = analyse(CONTRACT, sides[0], sides[1], (200, 200), 60.0)
    rows = {row.arm: row for row in analysis.estimates if row.metric == "latency_p95"}
    assert (rows["challenger"].estimate, rows["control"].estimate, rows["difference"].estimate) == (950.0, 900.0, 50.0)
    assert rows["difference"].lower is None
    with pytest.raises(PermanentError, match="'latency_p95' is a quantile, which has no bounds; use one of satisfaction"):
        look({}, contract=CONTRACT.model_copy(update={"primary": "latency_p95"}))


def test_contracts_from_before_metrics_were_declared_stay_readable():
    body = CONTRACT.model_dump_json(exclude={"metrics", "false_discovery_target"})
    assert ExperimentContract.model_validate_json(body) == CONTRACT
    assert set(definitions(CONTRACT)) >= {"satisfaction", "handoff", "error", "latency"}
