"""What this gateway serves: the deployment with the highest revision that it has seen."""

import logging

from csqa_loop.errors import PermanentError
from csqa_loop.events import DeploymentChanged
from csqa_loop.events.wire import decode
from csqa_loop.log import Record

_log = logging.getLogger(__name__)


class CurrentDeployment:
    """Follows `csqa.deployments`."""

    def __init__(self) -> None:
        self._current: DeploymentChanged | None = None

    @property
    def current(self) -> DeploymentChanged | None:
        """The deployment with the highest revision; None until one was seen."""
        return self._current

    def apply(self, record: Record) -> None:
        """Take one record. A bad one is logged and skipped: the ledger keeps the dead letter."""
        try:
            event = decode(record.topic, record.value)
        except PermanentError as error:
            _log.error("skipped record %s[%d]@%d: %s", record.topic, record.partition, record.offset, error)
            return
        # A log that came back empty is refilled by the loop with what is current, which may be what we have.
        if isinstance(event, DeploymentChanged) and (self._current is None or event.revision >= self._current.revision):
            self._current = event
