"""The log once more, into an empty ledger: what the tables must equal, whatever faults there were."""

from collections.abc import Callable
from functools import partial
from typing import Any

from csqa_loop.events.topics import FACT_TOPICS
from csqa_loop.ledger import Ledger
from csqa_loop.ledger import bookkeeping as queries
from csqa_loop.ledger.invariants import ledger_hash
from csqa_loop.ledger.recorder import sort_out
from csqa_loop.ledger.rules.masking import masked_event
from csqa_loop.log import read_to_end
from csqa_loop.log.records import LogRecord
from csqa_loop.settings import KafkaSettings
from csqa_loop.text.masking import Known


async def replay_log(
    ledger: Ledger, secret: bytes, own: Known, servers: str, settings: KafkaSettings, progress: Callable[[int], None]
) -> dict[str, Any]:
    """Fill `ledger`, which is empty or holds a backup, from the log. `secret` and `own` are those of the running loop.

    Returns:
        hash and counts, and `removed`: how many records of the log are gone, by retention or compaction. Without a backup of before, the hash of a
        log that lost some is not the running ledger's.

    Raises:
        TransientError: Kafka does not answer, or the disk refuses.
    """
    ledger.open()
    clean = partial(masked_event, secret, own=own)
    batch: list[LogRecord] = []
    records = 0
    ends: dict[tuple[str, int], int] = {}
    try:
        async for record in read_to_end(servers, settings, FACT_TOPICS):
            batch.append(record)
            ends[record.topic, record.partition] = record.offset + 1
            if len(batch) >= settings.batch_records:
                ledger.take(sort_out(batch, clean))
                records += len(batch)
                batch.clear()
                progress(records)
        ledger.take(sort_out(batch, clean))
        records += len(batch)
        progress(records)
        recorded = queries.recorded_counts(ledger.connection)
        return {"hash": ledger_hash(ledger.connection), "recorded": recorded, "removed": sum(ends.values()) - records}
    finally:
        ledger.close()
