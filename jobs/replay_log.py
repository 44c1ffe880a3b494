"""The log once more, into an empty ledger: what the tables must come to, whatever happened on the way."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from csqa_loop.backends.bus import read_to_end
from csqa_loop.backends.ledger import Ledger, queries
from csqa_loop.backends.ledger.invariants import ledger_hash
from csqa_loop.bootstrap import build_secrets, pair_policy
from csqa_loop.cycle.guard import guard
from csqa_loop.cycle.record import sort_out
from csqa_loop.domain.intake import LogRecord
from csqa_loop.domain.topics import FACT_TOPICS
from csqa_loop.settings import Settings


async def replay_log(settings: Settings, file: Path, progress: Callable[[int], None]) -> dict[str, Any]:
    """Fill a new ledger at `file` from the log; its hash and counts.

    Raises:
        TransientError: Kafka does not answer, or the disk refuses.
    """
    ledger = Ledger(file, pair_policy(settings), memory_mib=settings.ledger.memory_mib)
    ledger.open()
    clean = partial(guard, build_secrets(settings).secret)
    batch: list[LogRecord] = []
    done = 0
    try:
        async for record in read_to_end(settings.kafka_servers, settings.kafka, FACT_TOPICS):
            batch.append(record)
            if len(batch) >= settings.kafka.batch_records:
                ledger.take(sort_out(batch, clean))
                done += len(batch)
                batch.clear()
                progress(done)
        ledger.take(sort_out(batch, clean))
        progress(done + len(batch))
        return {"hash": ledger_hash(ledger.connection), "recorded": queries.recorded_counts(ledger.connection)}
    finally:
        ledger.close()
