"""A backup and the log from there on make the same ledger, on a log that has forgotten what came before."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from csqa_loop import bootstrap
from csqa_loop.events import now
from csqa_loop.events.topics import CHATS, FEEDBACK, POLICIES
from csqa_loop.ledger.backup import copy_of, restore, verify
from csqa_loop.ledger.invariants import ledger_hash
from csqa_loop.ledger.replay import replay_log
from csqa_loop.log import end_offsets, read_to_end
from csqa_loop.settings import Settings
from tests import events as make
from tests.brokers import Broker
from tests.fakes.model_server import FakeModelServer
from tests.loops import quick_settings, running, until, with_bus

pytestmark = pytest.mark.fault(9, "compaction and retention, then a backup and the log")

PATIENCE = 90.0
"""Kafka's cleaner looks every 15 seconds."""
FORGETFUL = {
    "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001", "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "100", "delete.retention.ms": "100", "cleanup.policy": "compact",
}  # fmt: skip


async def forget(settings: Settings) -> None:
    """What weeks do to a log: only the newest of each policy is left, and no old chat or thumb."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_servers)
    await admin.start()
    try:
        ends = await end_offsets(settings.kafka_servers, settings.kafka, [CHATS, FEEDBACK])
        await admin.delete_records({TopicPartition(*place): RecordsToDelete(end) for place, end in ends.items() if end}, timeout_ms=10_000)
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, POLICIES, FORGETFUL)])
    finally:
        await admin.close()


async def policy_records(settings: Settings) -> int:
    return len([record async for record in read_to_end(settings.kafka_servers, settings.kafka, [POLICIES])])


async def compacted(settings: Settings) -> None:
    """Return once the log has lost old versions. A segment closes when the next record comes, so some are written meanwhile."""
    number = 100
    async with asyncio.timeout(PATIENCE):
        while True:
            policy = make.policy(f"# Fees\n\n{number} EUR.", policy_id=f"fees-{number}", number=number)
            await with_bus(settings, lambda bus, policy=policy: bus.publish(policy))
            ends = await end_offsets(settings.kafka_servers, settings.kafka, [POLICIES])
            if await policy_records(settings) < sum(ends.values()) - 3:
                return
            number += 1
            await asyncio.sleep(0.5)  # nothing tells that Kafka's cleaner has run


async def replayed_hash(settings: Settings, folder: Path, backup: Path | None) -> tuple[str, int]:
    if backup:
        copy_of(backup, folder / "ledger.duckdb")
    ledger = bootstrap.build_ledger(settings, folder / "ledger.duckdb")
    secret = bootstrap.build_secrets(settings).secret
    told = await replay_log(ledger, secret, settings.privacy.known, settings.kafka_servers, settings.kafka, lambda _: None)
    return str(told["hash"]), told["removed"]


@pytest.mark.kafka
@pytest.mark.timeout(400)
async def test_after_compaction_and_retention_a_backup_and_the_log_make_the_same_ledger(
    mortal_kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick_settings(tmp_path, mortal_kafka.servers)
    server = FakeModelServer()
    async with running(settings, server, monkeypatch) as stream:
        policies = [make.policy(f"# Returns\n\n{days} days.", number=days) for days in range(1, 12)]
        await with_bus(settings, lambda bus: bus.publish(*policies))
        await with_bus(settings, lambda bus: bus.publish(*(make.answer(n) for n in range(30)), make.thumb(1), make.bad_case(2)))
        await until(stream, lambda s: s["recorded"]["chats"] == 30 and s["recorded"]["bad_cases"] == 1, "the first chats")
        backup = tmp_path / "backups" / (await stream.parts.backups.take(tmp_path / "backups")).name
        await forget(settings)
        await compacted(settings)
        await with_bus(settings, lambda bus: bus.publish(*(make.answer(n) for n in range(30, 50)), make.thumb(3), make.bad_case(40)))
        told = await until(stream, lambda s: s["recorded"]["chats"] == 50 and s["recorded"]["bad_cases"] == 2, "the later chats")
        whole = await stream.parts.ledger.ask(ledger_hash)

        # Without the backup it is another ledger, and the replay says that records are gone.
        other, removed = await replayed_hash(settings, tmp_path / "replay-1", None)
        assert other != whole
        assert removed > 30
        again, _ = await replayed_hash(settings, tmp_path / "replay-2", backup)
        assert again == whole

    # The disk with the ledger is lost: another folder, the backup, the log.
    restored = settings.model_copy(update={"var": tmp_path / "elsewhere", "secret": None})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secrets.json").write_bytes((settings.var / "secrets.json").read_bytes())
    said, aside = restore(backup, bootstrap.build_ledger(restored), now())
    assert (said, aside) == (verify(backup), None)
    async with running(restored, server, monkeypatch) as stream:
        again_told = await until(stream, lambda s: s["recorded"]["chats"] == 50 and s["recorded"]["bad_cases"] == 2, "the later chats")
        assert again_told["recorded"] == told["recorded"]
        assert again_told["epoch"] == told["epoch"]
        assert await stream.parts.ledger.ask(ledger_hash) == whole
