"""What a console tells in tests of the commands: whole answers, as JSON says them."""

import json
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

PAIR: dict[str, Any] = {
    "pair_id": "p-1", "message_id": "m1", "policy_id": "returns", "section": "Footwear", "held_out": False, "question": "Boots [size 9]?",
    "prompt": "[]", "chosen": "45 days.", "rejected": "30 days.", "source": "correction", "weight": 1.0, "adapter": "base",
    "occurred_at": "2026-05-04T00:00:03Z", "user": "u-1", "contributor": "ann", "category": "returns", "quoted": [["returns", "0123456789ab"]],
    "question_key": "k", "numbers": ["45"], "held": [], "review_id": "v-1", "prompt_key": None, "rival": None, "claimed": True, "outdated": False,
    "withdrawn": False, "approved": False, "too_long": False, "masked": False, "unsettled": False, "state": "claimed", "answer_event_id": "e-answer",
    "evidence_event_id": "e-bad", "runs": ["r1"],
}  # fmt: skip
BLAME: dict[str, Any] = {
    "event_id": "e-bad", "occurred_at": "2026-05-04T00:00:03Z", "message_id": "m1", "conversation_id": "c1", "user": "u-1",
    "question": "Boots [size 9]?", "reason": "wrong", "answered_at": "2026-05-04T00:00:01Z", "fault": "generation", "basis": "correction",
    "detail": "the prompt says it", "policy_id": "returns", "version": "0123456789ab", "section": "Footwear", "category": "returns",
    "prompt_support": 1.0, "best_support": 0.0, "missing_numbers": [], "corrected": True, "review_id": "v-1",
}  # fmt: skip
CONTRACT: dict[str, Any] = {
    "primary": "satisfaction", "guardrails": [], "alpha": 0.05, "window_seconds": 1.0, "burn_in_users": 10, "max_users": 99, "max_seconds": 99.0,
    "ramp": [0.4, 1.0], "ramp_users": 5, "metrics": [], "false_discovery_target": None,
}  # fmt: skip
EXPERIMENT: dict[str, Any] = {
    "id": "x-1", "run_id": "r-1", "alpha": 0.05, "champion": "base", "challenger": "a-0123456789abcdef", "share": 0.4,
    "n": {"challenger": 3, "control": 4}, "exposed": {"challenger": 5, "control": 6}, "excluded": {"seen_in_both_arms": 2}, "late": {"challenger": 1, "control": 0}, "estimate": None,
    "lower": None, "upper": None, "verdict": "CONTINUE", "stopped_by": "", "as_of": None, "settled": False, "estimates": [], "contract": CONTRACT,
}  # fmt: skip


def telling(told: Callable[[str], Any]) -> Callable[..., Any]:
    """`ask_console` of a console that tells `told(path)`."""

    def ask(settings: object, path: str, answer: type[Any], **_: object) -> Any:
        return TypeAdapter(answer).validate_json(json.dumps(told(path)))

    return ask
