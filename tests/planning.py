"""A planner of runs on fakes, and what it may be offered."""

from collections.abc import Sequence
from typing import Any

from csqa_loop import events as e
from csqa_loop.evidence.rules.examples import Example
from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.training.planner import RunPlanner, RunPolicy
from csqa_loop.training.rules.selection import SelectionPolicy
from csqa_loop.training.rules.trigger import TriggerPolicy
from tests import events as make
from tests.fakes.board import Board, NoRuns


def example(number: int, liked: bool | None) -> Example:
    prompt = f'[{{"role": "user", "content": "question {number}"}}]'
    return Example(
        f"m{number}", f"question {number} about something else {number * 7919}", prompt, f"answer {number}", liked, make.at(number), f"u-{number}",
        message_id=f"m{number}", answer_event_id=f"a-{number}", evidence_event_id=f"b-{number}",
    )  # fmt: skip


class Kept(NoRuns):
    """Run directories of which the last is kept."""

    def __init__(self) -> None:
        self.files: dict[str, list[str]] = {}

    async def prepare(self, request: e.TrainingRequested, pairs: Sequence[Pair], holdout: Sequence[Pair], **rows: Sequence[Any]) -> None:
        await super().prepare(request, pairs, holdout)
        parts = {"pairs": pairs, "holdout": holdout, **rows}
        self.files = {name: [one.example_id for one in part] for name, part in parts.items() if part}


def planner(board: Board, **policy: Any) -> tuple[RunPlanner, Kept]:
    runs = Kept()
    trigger = policy.pop("trigger", TriggerPolicy(min_pairs=2, min_users=2))
    selection = SelectionPolicy(max_pairs=50, newest_share=policy.pop("newest_share", 0.0))
    return RunPlanner(board, runs, RunPolicy(trigger, selection, **policy)), runs
