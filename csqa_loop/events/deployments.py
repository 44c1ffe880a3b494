"""What gateways serve: `csqa.deployments`."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from csqa_loop.events import topics
from csqa_loop.events.common import AdapterName, Event, Id, Int32, Share


class DeploymentChanged(Event):
    """What gateways serve from now on. The highest revision is the current one."""

    topic: ClassVar[str] = topics.DEPLOYMENTS
    key_field: ClassVar[str] = "scope"
    type: Literal["DeploymentChanged"] = "DeploymentChanged"
    scope: Literal["default"] = "default"
    revision: Int32 = Field(ge=1)
    champion: AdapterName
    challenger: AdapterName | None = None
    candidate: AdapterName | None = None
    share: Share = 0.0
    salt: str = ""
    experiment: Id | None = None
    previous_champion: AdapterName | None = None
    cause: str = ""
    order: UUID | None = Field(default=None, exclude_if=lambda order: order is None)
    """The last operator's order that is carried out; every later revision repeats it, for the topic is compacted. Where there is none it is
    left out: facts from before it existed keep their bytes."""
