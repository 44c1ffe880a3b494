"""Months of a shop in a hundred events: what analysts are shown of it is known."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count

from csqa_loop import events as e
from csqa_loop.analytics.copy import LiveEstimate
from csqa_loop.evidence.rules.pairs import review_id_of
from csqa_loop.experiment.rules.comparison import ArmTotals
from csqa_loop.experiment.rules.statistics import MetricTotals
from csqa_loop.experiment.rules.verdict import analyse
from csqa_loop.log.records import LogRecord

START = datetime(2026, 5, 4, 23, 0, tzinfo=UTC)
ADAPTER = "a-0123456789abcdef"
SECOND = "a-fedcba9876543210"
CONTRACT = e.ExperimentContract(
    primary="satisfaction",
    guardrails=(e.GuardrailContract(metric="handoff", margin=0.1), e.GuardrailContract(metric="latency", margin=300.0)),
    alpha=0.05, window_seconds=20, burn_in_users=30, max_users=300, max_seconds=3600, ramp=(0.4, 1.0), ramp_users=10,
)  # fmt: skip
_offsets = count()


def in_log(events: Iterable[e.Event]) -> list[tuple[e.Event, LogRecord]]:
    """Each with a record behind all others; one is like the other, but for its place."""
    return [(event, LogRecord(topic="csqa.chats", partition=0, offset=next(_offsets), key=b"c", value=b"{}")) for event in events]


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


LIVE = [LiveEstimate("x2", at(9500), "CONTINUE", row) for row in estimates()] + [
    LiveEstimate("x1", at(9500), "CONTINUE", row)
    for row in estimates()  # a look that a verdict has overtaken
]
