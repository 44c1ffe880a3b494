"""A planner of runs on a real ledger, and what it may be offered beside pairs."""

import json
from typing import Any

from pyarrow import parquet

from csqa_loop import events as e
from csqa_loop.evidence.rules.pairs import held_out
from csqa_loop.settings import GateSettings
from csqa_loop.training.planner import RunPlanner
from csqa_loop.training.policy import RunPolicy
from csqa_loop.training.rules.selection import SelectionPolicy
from csqa_loop.training.rules.trigger import TriggerPolicy
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import DEMONSTRATIONS, HOLDOUT, PAIRS, REPLAY, UNPAIRED
from tests import events as make
from tests.boards import Board, run_writer

SECTION = next(name for name in map(str, range(100)) if not held_out("returns", name))


def question(number: int) -> str:
    return f"question {number} about something else {number * 7919}"


def rated(number: int, *, liked: bool) -> tuple[e.Event, ...]:
    """A customer's question, its answer and the thumb on it: example `m<number>`."""
    asked = question(number)
    messages = (e.ChatMessage(role="system", content="Policy."), e.ChatMessage(role="user", content=asked))
    told = make.answer(number, second=number, section=SECTION, question=asked, messages=messages, answer=f"answer {number}")
    return told, make.thumb(number, "up" if liked else "down", second=number)


def imported(number: int, *, asked: str = "", **fields: Any) -> e.ExampleImported:
    """Example `m<number>` of a file, which no customer rated: a demonstration, or with `liked` a rated answer."""
    return e.ExampleImported(
        event_id=make.event_id(70_000 + number), occurred_at=make.at(number), conversation_id=f"m{number}",
        messages=(e.ChatMessage(role="user", content=asked or question(number)),), answer=f"answer {number}", operator="ops", origin="faq.csv", **fields,
    )  # fmt: skip


def planner(board: Board, *, regression: tuple[str, ...] = (), **policy: Any) -> RunPlanner:
    """`regression`: what the gate asks."""
    trigger = policy.pop("trigger", TriggerPolicy(min_pairs=2, min_users=2))
    selection = SelectionPolicy(max_pairs=50, newest_share=policy.pop("newest_share", 0.0))
    file = board.folder / "regression.yaml"
    questions = [{"id": f"q-{n}", "policy": "returns", "ask": [asked], "expect": ["14"]} for n, asked in enumerate(regression)]
    file.write_text(json.dumps({"regression": questions}), encoding="utf-8")
    runs = run_writer(board, gate=GateSettings(regression_file=str(file)))
    return RunPlanner(board, runs, RunPolicy(trigger, selection, **policy))


def contents(board: Board, request: e.TrainingRequested) -> dict[str, list[str]]:
    """The names of the examples in each file of the run's directory that holds any."""
    folder = RunDirectory.of(board.runs, request.run_id).path
    found = {}
    for file in (PAIRS, HOLDOUT, REPLAY, UNPAIRED, DEMONSTRATIONS):
        rows = parquet.read_table(folder / file).to_pylist() if (folder / file).exists() else []
        if rows:
            found[file.removesuffix(".parquet")] = [row.get("pair_id") or row["example_id"] for row in rows]
    return found
