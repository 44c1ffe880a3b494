"""An experiment whose challenger does harm: the facts that trainer, gate and customers would put into the log."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from csqa_loop import events as e
from csqa_loop.bootstrap import build_bus
from csqa_loop.settings import Settings

WINDOW_SECONDS, GRACE_SECONDS = 2.0, 0.5
EXPERIMENT = {
    "CSQA_EXPERIMENT__WINDOW_SECONDS": str(WINDOW_SECONDS),
    "CSQA_EXPERIMENT__GRACE_SECONDS": str(GRACE_SECONDS),
    "CSQA_EXPERIMENT__BURN_IN_USERS": "30",
    "CSQA_EXPERIMENT__MAX_USERS": "500",
    "CSQA_EXPERIMENT__RAMP": "[1.0]",
    "CSQA_EXPERIMENT__RAMP_USERS": "1",
    "CSQA_EXPERIMENT__HANDOFF_MARGIN": "0.5",
    "CSQA_EXPERIMENT__ERROR_MARGIN": "0.5",
    "CSQA_EXPERIMENT__RATING_MARGIN": "0.5",
    "CSQA_EXPERIMENT__UNANSWERED_MARGIN": "0.5",
}
"""What the loop must be told: windows of seconds, so that a round takes no day."""
_USERS = 60
"""An arm: twice what harm needs before it may be seen."""


def begin(settings: Settings, adapter: str, number: int) -> str:
    """Say that the gate passed `adapter`; the experiment that the loop opens for it."""
    run = f"r-breach-{number}"
    of_run: Mapping[str, Any] = {"occurred_at": e.now(), "run_id": run, "attempt": 1}
    _publish(
        settings,
        e.TrainingRequested(**of_run, reason="a benchmark", champion=e.BASE, pair_ids=(), data_hash="none"),
        e.AdapterTrained(**of_run, adapter=adapter, parent=e.BASE, recipe_hash="none", data_hash="none", pairs=0, seconds=0.0),
        e.AdapterEvaluated(**of_run, adapter=adapter, champion=e.BASE, passed=True),
    )
    return f"x-breach-{number}-1"


def harm(settings: Settings, experiment: str, adapter: str) -> float:
    """Users of both arms rate one answer each, the challenger's down and the champion's up.

    Returns:
        When the harm can be seen first, in seconds of `time.time`: the log has acknowledged all of it, and the last user's window and the
        grace after it are over.
    """
    entered = e.now()
    facts: list[e.Event] = []
    for number in range(2 * _USERS):
        challenger = number % 2 == 1
        of_chat: Mapping[str, Any] = {
            "conversation_id": f"c-{experiment}-{number}",
            "message_id": f"c-{experiment}-{number}.1",
            "user": f"u-{e.derived_id(experiment, 'user', number).hex[:16]}",
        }
        of_arm: Mapping[str, Any] = {
            "experiment": experiment,
            "arm": "challenger" if challenger else "control",
            "adapter": adapter if challenger else e.BASE,
        }
        asked = f"How long may I return a thing, case {number}?"
        facts += [
            e.ArmExposed(occurred_at=entered, **of_chat, **of_arm),
            e.AnswerGiven(
                occurred_at=entered + timedelta(milliseconds=100),
                **of_chat,
                **of_arm,
                question=asked,
                messages=(e.ChatMessage(role="user", content=asked),),
                answer="14 days." + "!" * (number % 5),
                latency_ms=100.0 + number % 7,
            ),
            e.FeedbackGiven(occurred_at=entered + timedelta(milliseconds=200), **of_chat, thumb="down" if challenger else "up", comment=""),
        ]
    _publish(settings, *facts)
    return max(time.time(), entered.timestamp() + WINDOW_SECONDS + GRACE_SECONDS)


def _publish(settings: Settings, *facts: e.Event) -> None:
    async def work() -> None:
        bus = build_bus(settings)
        await bus.start()
        try:
            await bus.publish(*facts)
        finally:
            await bus.stop()

    asyncio.run(work())
