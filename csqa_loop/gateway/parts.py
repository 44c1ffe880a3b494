"""The gateway's parts and their life: everything starts in the background, so the gateway is up while Kafka or vLLM is still down."""

import asyncio
import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from typing import Protocol

from csqa_loop.answering.answerer import Answerer
from csqa_loop.answering.model.server import ModelServer
from csqa_loop.errors import ConfigurationError
from csqa_loop.events import now, topics
from csqa_loop.gateway.admission import STOPPING, Admission
from csqa_loop.gateway.deployment import CurrentDeployment
from csqa_loop.gateway.metrics import Metrics
from csqa_loop.http.health import Dependencies
from csqa_loop.http.problems import Problem
from csqa_loop.knowledge.batching import BatchingEncoder
from csqa_loop.knowledge.encoder import Encoder
from csqa_loop.knowledge.index import KnowledgeIndex
from csqa_loop.knowledge.retrieval import Retriever
from csqa_loop.knowledge.stages.late import LateInteraction
from csqa_loop.knowledge.stages.lexical import LexicalIndex
from csqa_loop.log import Record, Waiting
from csqa_loop.log.bus import Bus
from csqa_loop.retry import FailedTry, retried
from csqa_loop.settings import Settings
from csqa_loop.settings.secrets import Secrets

_log = logging.getLogger(__name__)
_BEAT_SECONDS = 1.0
_FINISH_SECONDS = 2.0
_CLOSE_SECONDS = 4.0
"""To put the last answers on record and close the connections, when all requests have ended."""


class StartableBus(Bus, Protocol):
    """The log, with start and stop."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""

    async def ensure_topics(self) -> None:
        """Create what is missing."""

    @property
    def trouble(self) -> str | None:
        """Why nothing was published a moment ago; None where it was, or nothing was tried."""


class StartableModelServer(ModelServer, Protocol):
    """vLLM, with start and stop."""

    async def start(self) -> None:
        """Begin to watch the replicas."""

    async def stop(self) -> None:
        """Disconnect."""

    @property
    def answering(self) -> bool:
        """Whether some replica answers."""


class Following(Protocol):
    """Keeps the index and the deployment current."""

    async def start(self) -> None:
        """Begin in the background."""

    async def stop(self) -> None:
        """End."""

    async def caught_up(self, timeout: float) -> bool:  # noqa: ASYNC109  # the bus's interface
        """Whether the content that the topics had at the start is applied."""

    @property
    def healthy(self) -> bool:
        """Whether it is connected."""


@dataclass
class Parts:
    """The parts of an app. Tests pass fakes."""

    settings: Settings
    secrets: Secrets
    bus: StartableBus
    model: StartableModelServer
    load_encoder: Callable[[], Encoder]
    """Takes seconds, so it is called in a thread."""
    follow: Callable[[Callable[[Record], None]], Following]
    waiting: Callable[[], Waiting] | None = None
    """What waits on disk for Kafka; None without a spool."""
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.deployment = CurrentDeployment()
        self.admission = Admission(self.settings.gateway.most_open, self.finish_seconds)
        self._dependencies = Dependencies()
        self._encoder: BatchingEncoder | None = None
        self.index: KnowledgeIndex | None = None
        self.retriever: Retriever | None = None
        self._lexical: LexicalIndex | None = None
        self._answerer: Answerer | None = None
        self._following: Following | None = None
        self._topics_exist = False
        self._caught_up = False
        self._starting: asyncio.Task[None] | None = None
        self._fatal: str = ""

    @property
    def answerer(self) -> Answerer:
        """The use case, once the champion and the policies are known.

        Raises:
            Problem: 503 with what is still missing.
        """
        if self._answerer is None or not self._caught_up:
            raise Problem(503, detail=f"the gateway is starting: {'; '.join(self.missing()) or 'almost there'}")
        return self._answerer

    @property
    def followed_retriever(self) -> Retriever:
        """What finds passages, once the index is complete.

        Raises:
            Problem: 503 while it is not.
        """
        _ = self.answerer
        assert self.retriever is not None
        return self.retriever

    @property
    def followed_index(self) -> KnowledgeIndex:
        """The index, once it is complete.

        Raises:
            Problem: 503 while it is not.
        """
        _ = self.answerer
        assert self.index is not None
        return self.index

    @property
    def finish_seconds(self) -> float:
        """How long answers in flight have when the gateway stops."""
        return self.settings.stop_seconds - _CLOSE_SECONDS - 1

    def missing(self) -> list[str]:
        """The reasons why this gateway is not ready; empty when it is."""
        needed = [trouble for name, trouble in self._troubles().items() if name not in self._useful]
        return [trouble for trouble in (STOPPING if self.admission.stopping else None, *needed) if trouble]

    def health(self) -> dict[str, object]:
        """In the shape of every process; it works as long as it answers, also while what it needs is away."""
        phase = "stopping" if self.admission.stopping else "answering" if self._caught_up else "starting"
        dependencies = self._dependencies.seen(self._troubles(), useful=self._useful)
        return {"ok": True, "phase": phase, "dependencies": dependencies, "open_chats": self.admission.open}

    @property
    def _useful(self) -> frozenset[str]:
        """What it can go without for now: while the spool takes its events it answers by the policies that it knows, and says as of when."""
        return frozenset({"kafka"}) if self._caught_up and not self.bus.trouble else frozenset()

    def _troubles(self) -> dict[str, str | None]:
        """What is wrong with each thing that an answer needs."""
        servers = self.settings.kafka_servers
        if not self._topics_exist:
            kafka: str | None = f"Kafka at {servers} does not answer or lacks topics"
        elif self._following and not self._following.healthy and self._caught_up:
            kafka = f"the connection to Kafka at {servers} is lost"
        else:
            kafka = self.bus.trouble
        encoder = self._fatal or ("the encoder is loading" if self._encoder is None else self._encoder.trouble)
        deployed = not self._caught_up or self.deployment.current
        return {
            "kafka": kafka,
            "encoder": encoder,
            "index": None if self._caught_up else "policies and deployment are not read to the end yet",
            "deployment": None if deployed else "no deployment is published yet; the loop does that when it starts",
            "model_server": None if self.model.answering else f"no model server of {', '.join(self.settings.model_server_urls)} answers",
        }

    async def start(self) -> None:
        """Return at once; the rest happens in the background."""
        self.metrics.watch(
            age_of=lambda: self.index.as_of if self.index else None,
            revision=lambda: self.deployment.current.revision if self.deployment.current else 0,
            ready=lambda: not self.missing(),
            waiting=self.waiting,
        )
        self.admission.start()
        await self.model.start()
        self._starting = asyncio.create_task(self._start(), name="gateway start")

    async def stop(self) -> None:
        """Stop; answers whose readers left go on record first."""
        self.admission.stop()
        if self._starting:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._answerer:
            await self._answerer.finish(_FINISH_SECONDS)
        closing = [self.model.stop(), self.bus.stop(), *([self._following.stop()] if self._following else ())]
        if self._encoder:
            closing.append(self._encoder.close())
        try:
            async with asyncio.timeout(_CLOSE_SECONDS - _FINISH_SECONDS):
                await asyncio.gather(*closing)
        except TimeoutError:
            _log.warning("connections did not close within %g s; the process ends without", _CLOSE_SECONDS - _FINISH_SECONDS)
        if self._lexical:
            self._lexical.close()

    async def _start(self) -> None:
        connected = asyncio.create_task(self._connect())
        try:
            encoder = await self._loaded_encoder()
            if encoder is None:
                return
            waits = self.settings.encoder
            batching = self._encoder = BatchingEncoder(encoder, seconds=waits.question_seconds, most_waiting=waits.most_waiting)
            self.index, self.retriever = self._knowledge(batching)
            self._answerer = Answerer(
                bus=self.bus,
                model=self.model,
                retriever=self.retriever,
                deployment=lambda: self.deployment.current,
                secret=self.secrets.secret,
                settings=self.settings,
                clock=now,
            )
            self.admission.gives_up = self._answerer.give_up
            await connected
            self._following = self.follow(self._apply)
            await self._following.start()
            while not await self._following.caught_up(_BEAT_SECONDS):
                pass
            # What was read stays: a full collection would look through all of it, for hundreds of milliseconds.
            gc.freeze()
            self._caught_up = True
            _log.info("ready with index %s", self.index.version)
        except Exception as error:
            self._fatal = f"the gateway cannot start: {error!r}"
            _log.exception("the gateway cannot start")
        finally:
            connected.cancel()

    def _knowledge(self, encoder: BatchingEncoder) -> tuple[KnowledgeIndex, Retriever]:
        settings = self.settings.retrieval
        lexical = self._lexical = LexicalIndex() if settings.lexical else None
        late = LateInteraction(encoder, settings.late_passages) if settings.late_passages and encoder.gives_tokens else None
        index = KnowledgeIndex(
            encoder.name, encoder.dimension, stale_seconds=settings.stale_seconds, listeners=[lexical] if lexical else ()
        )
        return index, Retriever(encoder, index, lexical=lexical, late=late, min_score=settings.min_score)

    async def _connect(self) -> None:
        """Return once the broker answers and has the topics."""

        async def connect() -> None:
            await self.bus.start()
            await self.bus.ensure_topics()

        await retried(connect, repeat(_BEAT_SECONDS), on_failure=_trying_again)
        self._topics_exist = True

    async def _loaded_encoder(self) -> Encoder | None:
        try:
            return await retried(lambda: asyncio.to_thread(self.load_encoder), repeat(_BEAT_SECONDS), on_failure=_trying_again)
        except ConfigurationError as error:
            self._fatal = str(error)
            _log.error("%s", error)
            return None

    def _apply(self, record: Record) -> None:
        if record.topic == topics.DEPLOYMENTS:
            self.deployment.apply(record)
        elif self.index is not None:
            self.index.apply(record)


def _trying_again(failed: FailedTry) -> None:
    _log.warning("%s; trying again", failed.error)
