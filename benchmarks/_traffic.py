"""Seeded traffic of a shop: exposures, answers with their prompts, comments and bad cases, 1 KiB each on average, as it lies in the log."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from csqa_loop import events as e
from csqa_loop.answering.rules.prompt import PROMPT_VERSION, build_messages
from csqa_loop.demo.scenario import ScenarioQuestion
from csqa_loop.demo.scenario_files import load_scenario, packaged, policy_folder
from csqa_loop.knowledge.rules.chunking import Passage, chunk_markdown
from csqa_loop.knowledge.rules.publishing import publication

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
REPEATED = 0.03
"""Share of records that the log holds twice: producers repeat what was not acknowledged."""
RESTATED = 0.0002
"""Share of records that reuse an event_id for another body."""
BROKEN = 0.001
"""Share of records that are no event."""
_RATED = 0.15
_CORRECTED = 0.01
_UNMASKED = 0.02
"""Share of questions in which a frontend left personal data."""
_PERSONAL = ("Mail me at jane.doe@mail.example.com.", "My number is 07911 123456.", "我的手机是13800138000。", "Card 4111 1111 1111 1111.")
_COMMENTS = (
    "That is not what the leaflet in the box says, I had to ask twice and wait for a person to tell me.",
    "Thank you, quick and clear. I sent order ORD-20260105-004711 back the same day and it worked.",
    "The answer names the wrong number of days. I read the policy on your page and it says something else for outlet goods.",
    "没有回答我的问题，我问的是退款什么时候到账。",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One record to publish."""

    topic: str
    key: bytes
    value: bytes


@dataclass
class Tally:
    """What the ledger must hold in the end."""

    records: int = 0
    bytes: int = 0
    facts: int = 0
    answers: int = 0
    feedback: int = 0
    bad_cases: int = 0
    letters: int = 0


class Shop:
    """Conversations of one made-up shop. The same seed makes the same records."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._count = 0
        file = packaged("harbour-shop/scenario.yaml")
        scenario = load_scenario(file)
        folder = policy_folder(file, scenario)
        self.policies = [publication(path.stem, path.read_text(), now=START) for path in sorted(folder.glob("*.md"))]
        self._passages = [(policy, passage) for policy in self.policies for passage in chunk_markdown(policy.text, 600)]
        self._questions = scenario.trainable
        self.tally = Tally()

    def records(self, number: int) -> Iterator[Record]:
        """So many records, in the order of their publication."""
        recent: list[Record] = []
        while self.tally.records < number:
            for event in self.turn():
                record = Record(event.topic, event.key.encode(), event.to_json())
                self._account(event)
                yield self._counted(record)
                recent.append(record)
                yield from self._disturbances(recent)
            del recent[:-5_000]

    def turn(self, *, corrected: bool | None = None) -> list[e.Event]:
        """One question with all that follows from it; `corrected` decides whether an agent corrects the answer, else chance does."""
        chance, number = self._chance, self._count
        self._count += 1
        moment = START + timedelta(milliseconds=40 * number)
        question = chance.choice(self._questions)
        text = chance.choice(question.ask)
        if chance.random() < _UNMASKED:
            text = f"{text} {chance.choice(_PERSONAL)}"
        conversation = f"c-{chance.getrandbits(64):016x}"
        message_id = f"{conversation}.{chance.getrandbits(80):020x}"
        ids = {"message_id": message_id, "conversation_id": conversation, "user": f"u-{chance.randrange(50_000):016x}"}
        shown = ids | {"experiment": "x-000000000001", "arm": chance.choice(("challenger", "control")), "adapter": e.BASE}
        passages = [self._answering(question), *chance.sample(self._passages, 2)]
        citations = tuple(
            e.Citation(
                chunk_id=f"{policy.policy_id}@{policy.version}#{place}", policy_id=policy.policy_id, version=policy.version,
                section=passage.section, score=round(chance.uniform(0.3, 0.9), 4),
            )
            for place, (policy, passage) in enumerate(passages)
        )  # fmt: skip
        answer = e.AnswerGiven(
            event_id=self._id(), occurred_at=moment + timedelta(milliseconds=900), **shown, question=text,
            messages=build_messages([e.ChatMessage(role="user", content=text)], [passage.text for _, passage in passages[: chance.choice((1, 2, 2))]]),
            answer=f"It takes {chance.randint(2, 400)} days, {chance.choice(passages)[1].body[:120]} (case {number})", citations=citations, index_version="0123456789abcdef",
            as_of=moment, prompt_version=PROMPT_VERSION, sampling=e.Sampling(temperature=0.2, top_p=0.9, max_tokens=256, seed=number),
            confidence=round(chance.random(), 4), latency_ms=round(chance.lognormvariate(6, 0.5), 2), tokens=e.Tokens(prompt=310, completion=42),
        )  # fmt: skip
        events: list[e.Event] = [e.ArmExposed(event_id=self._id(), occurred_at=moment, **shown), answer]
        if chance.random() < _RATED:
            events.append(
                e.FeedbackGiven(
                    event_id=self._id(), occurred_at=moment + timedelta(seconds=9), **ids, thumb=chance.choice(("up", "down")),
                    comment=chance.choice(_COMMENTS),
                )
            )  # fmt: skip
        if chance.random() < _CORRECTED if corrected is None else corrected:
            events.append(
                e.BadCaseReported(
                    event_id=self._id(), occurred_at=moment + timedelta(seconds=30), message_id=message_id, conversation_id=conversation,
                    reason="wrong", corrected_answer=question.correction, reviewer="ann",
                )
            )  # fmt: skip
        return events

    def _answering(self, question: ScenarioQuestion) -> tuple[e.PolicyPublished, Passage]:
        """The passage that holds the right answer, as retrieval should find it."""
        return next(
            (policy, passage)
            for policy, passage in self._passages
            if f"{policy.policy_id}.md" == question.policy and all(phrase in passage.text for phrase in question.expect)
        )

    def _disturbances(self, recent: list[Record]) -> Iterator[Record]:
        draw = self._chance.random()
        if draw < REPEATED:
            yield self._counted(self._chance.choice(recent))
        elif draw < REPEATED + BROKEN:
            # The number keeps every broken record a letter of its own.
            whole = recent[-1]
            self.tally.letters += 1
            yield self._counted(Record(whole.topic, whole.key, whole.value[: len(whole.value) // 2] + str(self.tally.records).encode()))
        elif draw < REPEATED + BROKEN + RESTATED:
            whole = recent[-1]
            self.tally.letters += 1
            yield self._counted(Record(whole.topic, whole.key, whole.value.replace(b'"occurred_at":"2026', b'"occurred_at":"2025', 1)))

    def _account(self, event: e.Event) -> None:
        self.tally.facts += 1
        self.tally.answers += isinstance(event, e.AnswerGiven)
        self.tally.feedback += isinstance(event, e.FeedbackGiven)
        self.tally.bad_cases += isinstance(event, e.BadCaseReported)

    def _counted(self, record: Record) -> Record:
        self.tally.records += 1
        self.tally.bytes += len(record.value)
        return record

    def _id(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)
