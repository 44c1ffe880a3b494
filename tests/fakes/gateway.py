"""A gateway on fakes: real app, real index, real use case; log, model server and encoder in memory."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from csqa_loop.errors import TransientError
from csqa_loop.events import Chunk, DeploymentChanged, Event, PolicyIndexed, PolicyPublished, now
from csqa_loop.gateway.parts import Parts
from csqa_loop.knowledge.rules.vectors import pack_vector
from csqa_loop.log import Record
from csqa_loop.log.records import Outgoing
from csqa_loop.settings import Settings
from csqa_loop.settings.secrets import Secrets
from tests.fakes.bus import MemoryBus
from tests.fakes.encoder import FakeEncoder
from tests.fakes.model_server import FakeModelServer

SECRETS = Secrets(secret=b"0123456789abcdef0123456789abcdef", operator_key="operator-key")
RETURNS = "Returns. You have 14 days to return electronics, and 30 days for everything else."
DELIVERY = "Delivery. Standard delivery costs £4.90 and takes three working days."


class GatewayBus(MemoryBus):
    """A log that can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False

    async def start(self) -> None:
        self._check()

    @property
    def trouble(self) -> str | None:
        return "nothing is acknowledged" if self.down else None

    async def ensure_topics(self) -> None:
        self._check()

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        self._check()
        await super().deliver(records)

    def _check(self) -> None:
        if self.down:
            raise TransientError("Kafka at nowhere:9092 does not answer")


class FakeFollowing:
    """Hands on what the test feeds."""

    def __init__(self, apply: Callable[[Record], None], backlog: list[Event]) -> None:
        self._apply = apply
        self._backlog = backlog
        self.healthy = False

    async def start(self) -> None:
        for event in self._backlog:
            self.feed(event)
        self.healthy = True

    async def stop(self) -> None: ...

    async def caught_up(self, timeout: float) -> bool:
        return self.healthy

    def feed(self, event: Event) -> None:
        self._apply(Record(event.topic, 0, 0, event.key.encode(), event.to_json(), 0))


class World:
    """Everything around one gateway."""

    def __init__(self, var: Path, **settings: Any) -> None:
        self.settings = Settings(var=var, **{"retrieval": {"min_score": 0.2}, **settings})
        self.bus = GatewayBus()
        self.model = FakeModelServer()
        self.encoder = FakeEncoder()
        self.backlog: list[Event] = []
        self.following: FakeFollowing | None = None
        self.parts = Parts(
            settings=self.settings,
            secrets=SECRETS,
            bus=self.bus,
            model=self.model,
            load_encoder=lambda: self.encoder,
            follow=self._follow,
        )

    def _follow(self, apply: Callable[[Record], None]) -> FakeFollowing:
        self.following = FakeFollowing(apply, self.backlog)
        return self.following

    def feed(self, event: Event) -> None:
        """Into the log, before or after the gateway started."""
        if self.following is None:
            self.backlog.append(event)
        else:
            self.following.feed(event)

    def know(self, policy_id: str, text: str, version: str = "0123456789ab") -> None:
        """A policy of one chunk, published and indexed."""
        vector = self.encoder._encode([text])[0]
        chunk = Chunk(chunk_id=f"{policy_id}@{version}#0", section="Returns", text=text, vector=pack_vector(vector))
        self.feed(PolicyPublished(occurred_at=now(), policy_id=policy_id, version=version, title=policy_id, text=text))
        self.feed(
            PolicyIndexed(
                occurred_at=now(),
                policy_id=policy_id,
                version=version,
                title=policy_id,
                encoder=self.encoder.name,
                dimension=self.encoder.dimension,
                chunks=(chunk,),
            )
        )

    def deploy(self, revision: int = 1, **fields: Any) -> None:
        """A deployment."""
        self.feed(DeploymentChanged(occurred_at=now(), revision=revision, **({"champion": "base"} | fields)))

    async def start(self) -> None:
        """Return when the parts are ready."""
        await self.parts.start()
        assert self.parts._starting is not None
        await asyncio.wait_for(asyncio.shield(self.parts._starting), 5)

    def with_shop(self) -> "World":
        """Two policies and the first deployment."""
        self.know("returns", RETURNS)
        self.know("delivery", DELIVERY)
        self.deploy()
        return self
