"""From a customer's question to an answer that is on record: pseudonym, mask, arm, exposure, retrieval, generation, fact."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from csqa_loop.answering.model.server import Delta, Generation, ModelServer
from csqa_loop.answering.question import Answered, Prepared, Question
from csqa_loop.answering.rules.arms import arm_of
from csqa_loop.answering.rules.fitting import fitting
from csqa_loop.answering.rules.prompt import PROMPT_VERSION, build_messages
from csqa_loop.answering.rules.turns import alternating
from csqa_loop.answering.sources.model import Model
from csqa_loop.answering.sources.refusal import Refusal
from csqa_loop.answering.sources.source import AnswerSource, words_alone
from csqa_loop.errors import CsqaError, TransientError
from csqa_loop.events import AnswerGiven, Arm, ArmExposed, ChatMessage, Citation, Considered, DeploymentChanged, Looked, Tokens
from csqa_loop.knowledge.retrieval import Retrieval, Retriever
from csqa_loop.log.bus import Bus
from csqa_loop.settings import Settings
from csqa_loop.text.identity import conversation_alias, new_message_id, pseudonym
from csqa_loop.text.masking import Known, mask, with_contacts

_log = logging.getLogger(__name__)
_MOST_CONSIDERED = 10
"""Candidates on record."""


class Answerer:
    """The use case behind the chat endpoint. `deployment` gives the current one, or None before the first one: then `base` serves."""

    def __init__(
        self,
        *,
        bus: Bus,
        model: ModelServer,
        retriever: Retriever,
        deployment: Callable[[], DeploymentChanged | None],
        secret: bytes,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self._bus = bus
        self._sources: tuple[AnswerSource, ...] = (Refusal(settings.language), Model(model))
        self._retriever = retriever
        self._deployment = deployment
        self._secret = secret
        self._settings = settings
        self._own = settings.privacy.known
        self._clock = clock
        self._unfinished: set[asyncio.Task[None]] = set()
        self._gives_up = False

    async def prepare(self, question: Question) -> Prepared:
        """Put the exposure on record and find what the policies say, side by side.

        Raises:
            TransientError: the log or the encoder does not answer; nothing may be generated.
        """
        began = time.perf_counter()
        exposure, fallback = self._expose(question)
        room = {"answer_tokens": question.sampling.max_tokens, "context_tokens": self._settings.model_server.max_model_len}
        spoken = fitting([message for message in question.messages if message.role != "system"], (), **room)
        *before, asked = [message.content for message in _masked(alternating(spoken), self._own) if message.role == "user"]
        _, found = await asyncio.gather(
            self._bus.publish(exposure), self._retriever.retrieve(asked, self._settings.retrieval.top_k, turns=before)
        )
        excerpts = [hit.text for hit in found.hits]
        language = self._settings.language
        # First what fits, then turns: a message too long for the model must not make the turn too long that it would be part of.
        turns = alternating(fitting(spoken, excerpts, **room))
        history = _masked(turns, self._own)
        if history != turns:
            # A contact that the excerpts state is no secret. The intake judges by the same words: the answer's event carries them.
            policy = build_messages(history, excerpts, default_language=language)[0].content
            history = _masked(turns, with_contacts(self._own, policy))
        return Prepared(
            exposure=exposure,
            fallback=fallback,
            question=history[-1].content,
            messages=build_messages(history, excerpts, default_language=language),
            citations=tuple(
                Citation(chunk_id=hit.chunk_id, policy_id=hit.policy_id, version=hit.version, section=hit.section, score=hit.score)
                for hit in found.hits
            ),
            retrieval=_looked(found, asked),
            index_version=found.index_version,
            as_of=found.as_of,
            covered=found.covered,
            sampling=question.sampling,
            stop=question.stop,
            began=began,
        )

    async def answer(self, question: Question) -> Answered:
        """The whole answer, on record.

        Raises:
            TransientError: the log, the encoder or every model server does not answer.
            PermanentError: the model server refuses the request (too long, say).
        """
        prepared = await self.prepare(question)
        source = self._source(prepared)
        generation = await source.answer(prepared)
        fact = self._fact(prepared, source, generation)
        await self._bus.publish(fact)
        return Answered(fact, generation.finish_reason, prepared.exposure)

    async def stream(self, prepared: Prepared) -> AsyncGenerator[str | Answered, None]:
        """The pieces of the answer, then the answer on record. Close or cancel it when the reader leaves: the text so far still goes on record.

        Raises:
            TransientError: as `answer`; after the first piece it means that the answer stays unfinished, and is no answer.
        """
        source = self._source(prepared)
        texts: list[str] = []
        fact: AnswerGiven | None = None
        recorded = False
        pieces = source.stream(prepared)
        try:
            final: Generation | None = None
            async for delta in pieces:
                if delta.final is None:
                    texts.append(delta.text)
                    yield delta.text
                else:
                    final = delta.final
            if final is None:
                raise TransientError("the model server ended its answer in the middle")
            fact = self._fact(prepared, source, final)
            await self._bus.publish(fact)
            recorded = True
            yield Answered(fact, final.finish_reason, prepared.exposure)
        except (GeneratorExit, asyncio.CancelledError):
            # A caller that cancels does not wait, so the rest runs in a task of its own. Publishing the same fact twice is harmless.
            if not recorded and (fact or not self._gives_up):
                if fact is None and texts:
                    fact = self._fact(prepared, source, words_alone(prepared, "".join(texts), tokens=len(texts)))
                self._beside(self._abandon(pieces, fact))
            raise

    def give_up(self) -> None:
        """From now on a stream that is closed was cut off by us: its text so far is no answer and does not go on record."""
        self._gives_up = True

    async def finish(self, seconds: float) -> None:
        """Wait until answers whose readers left are on record, or `seconds` have passed."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=seconds)

    def _expose(self, question: Question) -> tuple[ArmExposed, str]:
        """The exposure, and the champion that answers where its adapter is missing."""
        conversation = question.conversation_id
        if conversation is None:
            conversation = f"c-{uuid4().hex[:24]}"
        elif mask(conversation, self._own) != conversation:
            # An id such as an e-mail address would name a person on every record.
            conversation = conversation_alias(self._secret, conversation)
        user = pseudonym(self._secret, question.user or conversation)
        deployment = self._deployment()
        champion = deployment.champion if deployment else "base"
        arm: Arm = "champion"
        experiment, challenger = None, None
        if deployment and deployment.experiment and deployment.challenger:
            experiment, challenger = deployment.experiment, deployment.challenger
            arm = arm_of(deployment.salt, user, deployment.share)
        return ArmExposed(
            occurred_at=self._clock(),
            message_id=new_message_id(self._secret, conversation),
            conversation_id=conversation,
            user=user,
            experiment=experiment,
            arm=arm,
            adapter=challenger if challenger and arm == "challenger" else champion,
        ), champion

    def _source(self, prepared: Prepared) -> AnswerSource:
        return next(source for source in self._sources if source.covers(prepared))

    def _fact(self, prepared: Prepared, source: AnswerSource, generation: Generation) -> AnswerGiven:
        exposure = prepared.exposure
        return AnswerGiven(
            occurred_at=self._clock(),
            message_id=exposure.message_id,
            conversation_id=exposure.conversation_id,
            user=exposure.user,
            experiment=exposure.experiment,
            arm=exposure.arm,
            adapter=generation.adapter,
            question=prepared.question,
            messages=prepared.messages,
            answer=generation.text,
            source=source.name,
            citations=prepared.citations,
            retrieval=prepared.retrieval,
            index_version=prepared.index_version,
            as_of=prepared.as_of,
            prompt_version=PROMPT_VERSION,
            sampling=prepared.sampling,
            confidence=math.exp(math.fsum(generation.logprobs) / len(generation.logprobs)) if generation.logprobs else None,
            covered=prepared.covered,
            handoff=not prepared.covered or not generation.text.strip(),
            latency_ms=(time.perf_counter() - prepared.began) * 1000,
            tokens=Tokens(prompt=generation.prompt_tokens, completion=generation.completion_tokens),
        )

    async def _abandon(self, pieces: AsyncIterator[Delta], fact: AnswerGiven | None) -> None:
        """Stop the generation. What the reader saw goes on record; one who saw nothing got no answer."""
        close = getattr(pieces, "aclose", None)
        if close:
            await close()
        if fact is None:
            return
        try:
            await self._bus.publish(fact)
        except CsqaError as error:
            _log.error("the reader of %s left and its answer is not on record: %s", fact.message_id, error)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)


def _looked(found: Retrieval, asked: str) -> Looked:
    considered = [
        Considered.model_construct(chunk_id=one.hit.chunk_id, dense=one.hit.score, lexical=one.lexical, late=one.late)
        for one in found.candidates[:_MOST_CONSIDERED]
    ]
    return Looked(considered=tuple(considered), nearest=found.nearest, min_score=found.covered_from, with_turn_before=found.query != asked)


def _masked(messages: Sequence[ChatMessage], known: Known) -> tuple[ChatMessage, ...]:
    return tuple(ChatMessage(role=message.role, content=mask(message.content, known)) for message in messages)
