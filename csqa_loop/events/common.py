"""What all events have in common, and the types of their fields."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:csqa_loop:events")
BASE = "base"
"""The name of the champion that has no adapter."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(max_length=200_000)]
PolicyVersion = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]
AdapterName = Annotated[str, StringConstraints(pattern=r"^(base|a-[0-9a-f]{16})$")]
Arm = Literal["champion", "challenger", "control"]
"""`champion` is traffic outside the experiment; `control` sees the champion and is analysed."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Int32 = Annotated[int, Field(lt=2**31)]
"""Whole numbers have limits: tables hold 32 bits, and a number that no column takes must be refused where it is read."""


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("it lies outside the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_to_utc)]


def derived_id(subject: str, kind: str, attempt: int | str = 0) -> UUID:
    """UUIDv5 of what an event is about, so that deriving it twice gives one event."""
    return uuid5(_NAMESPACE, f"{subject}\n{kind}\n{attempt}")


class Event(BaseModel):
    """A fact. Frozen; equal bodies are equal facts."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    topic: ClassVar[str]
    key_field: ClassVar[str]

    schema_version: Literal[1] = 1
    type: str
    event_id: UUID = Field(default_factory=uuid4)
    occurred_at: Moment

    @property
    def key(self) -> str:
        """The Kafka message key: keeps one conversation, document or run in order."""
        return str(getattr(self, self.key_field))

    def to_json(self) -> bytes:
        """The record's value: UTF-8 JSON."""
        return self.__pydantic_serializer__.to_json(self)


class Vouching(Event):
    """A fact whose free text may hold contacts that a policy stated when it was written. Written by gateways and by the console."""

    stated: tuple[Annotated[str, StringConstraints(max_length=320)], ...] = Field(default=(), max_length=50)
    """Contacts in the text that a policy stated word for word: not personal, so they are not masked."""
    stated_proof: str = Field(default="", max_length=64)
    """HMAC over message and `stated`; without the right one, contacts are masked all the same."""


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)
