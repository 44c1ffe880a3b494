"""Run directories as the loop writes them."""

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from csqa_loop.answering.rules.prompt import build_messages
from csqa_loop.events import ChatMessage, TrainingRequested
from csqa_loop.evidence.rules.pairs import Pair
from csqa_loop.gate.suite import suite_hash
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import RunConfig
from csqa_loop.training.run.rows import Demonstration, Unpaired
from csqa_loop.training.run.writer import RunWriter

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pair(
    number: int, *, question: str | None = None, policy: str = "Goods may be returned within 14 days.", chosen: str = "", rejected: str = ""
) -> Pair:
    # Questions that differ in a digit alone nearly repeat each other.
    asked = question or f"How long may I keep {hashlib.sha256(str(number).encode()).hexdigest()[:16]}?"
    messages = build_messages([ChatMessage(role="user", content=asked)], [policy])
    return Pair(
        pair_id=f"p-{number}",
        message_id=f"m-{number}",
        policy_id="returns",
        section="Returns",
        held_out=False,
        question=asked,
        prompt=json.dumps([message.model_dump() for message in messages]),
        chosen=chosen or f"You may return item {number} within 14 days.",
        rejected=rejected or f"Keep item {number} as long as you like.",
        source="bad_case",
        weight=1.0,
        adapter="base",
        answer_event_id=f"answer-{number}",
        evidence_event_id=f"case-{number}",
        occurred_at=NOW,
    )


def requested(
    run_id: str = "r-1", attempt: int = 1, *, champion: str = "base", pairs: Sequence[Pair] = (), holdout: Sequence[Pair] = ()
) -> TrainingRequested:
    return TrainingRequested(
        occurred_at=NOW,
        run_id=run_id,
        attempt=attempt,
        reason="enough fresh pairs",
        champion=champion,
        pair_ids=tuple(pair.pair_id for pair in pairs),
        holdout_pair_ids=tuple(pair.pair_id for pair in holdout),
        data_hash="d" * 16,
        recipe_hash="c" * 16,
    )


def write_run(
    runs: Path,
    run_id: str = "r-1",
    *,
    pairs: Sequence[Pair] = (),
    holdout: Sequence[Pair] = (),
    replay: Sequence[Pair] = (),
    unpaired: Sequence[Unpaired] = (),
    demonstrations: Sequence[Demonstration] = (),
    champion: str = "base",
    **config: Any,
) -> RunDirectory:
    defaults: dict[str, Any] = {
        "base_model": "/no/such/model",
        "adapters": str(runs.parent / "adapters"),
        "model_server_urls": ("http://127.0.0.1:9",),
    }
    holdout = [dataclasses.replace(one, held_out=True) for one in holdout]
    pairs = pairs or ([] if unpaired or demonstrations else [pair(1), pair(2)])
    writer = RunWriter(runs, RunConfig(**(defaults | config)), regression_hash=suite_hash)
    request = requested(run_id, champion=champion, pairs=pairs, holdout=holdout)
    asyncio.run(writer.prepare(request, pairs, holdout, replay=replay, unpaired=unpaired, demonstrations=demonstrations))
    return RunDirectory.of(runs, run_id)
