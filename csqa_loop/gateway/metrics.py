"""Figures for Prometheus. A registry of its own, so that two apps in one process do not share counters."""

import time
from collections.abc import Callable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from csqa_loop.log import Waiting

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The figures that operators watch. No label holds a user, a conversation or a text."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("csqa_requests", "Requests by route and status.", ("route", "status"), registry=self.registry)
        self.latency = Histogram(
            "csqa_request_seconds", "Time to the complete response.", ("route",), buckets=_SECONDS, registry=self.registry
        )
        self.first_token = Histogram(
            "csqa_first_piece_seconds", "Time to the first piece of a stream.", buckets=_SECONDS, registry=self.registry
        )
        self.tokens = Counter("csqa_tokens", "Tokens of answered requests.", ("kind",), registry=self.registry)
        self.answers = Counter("csqa_answers", "Answers on record.", ("arm", "source", "covered"), registry=self.registry)
        self.errors = Counter("csqa_errors", "Requests that failed, by kind.", ("kind",), registry=self.registry)
        self._index = Gauge("csqa_index_info", "1 for the index version that is served.", ("version",), registry=self.registry)
        self._index_age = Gauge("csqa_index_age_seconds", "Time since the newest policy change in the index.", registry=self.registry)
        self._revision = Gauge("csqa_deployment_revision", "Revision of the deployment that is served; 0 for none.", registry=self.registry)
        self._spool_bytes = Gauge("csqa_spool_bytes", "What waits on disk for Kafka, in bytes.", registry=self.registry)
        self._spool_age = Gauge(
            "csqa_spool_oldest_seconds", "How long the oldest event waits for Kafka; 0 for none.", registry=self.registry
        )
        self._ready = Gauge("csqa_ready", "1 while the gateway is ready.", registry=self.registry)

    def watch(
        self,
        *,
        age_of: Callable[[], datetime | None],
        revision: Callable[[], int],
        ready: Callable[[], bool],
        waiting: Callable[[], Waiting] | None,
    ) -> None:
        """Gauges whose values are read at each scrape."""

        def age() -> float:
            moment = age_of()
            return time.time() - moment.timestamp() if moment else float("nan")

        self._index_age.set_function(age)
        self._revision.set_function(revision)
        self._ready.set_function(ready)
        if waiting:
            self._spool_bytes.set_function(lambda: waiting().bytes)
            self._spool_age.set_function(lambda: waiting().oldest_seconds)

    def show_index(self, version: str) -> None:
        """Only the present version has a series."""
        self._index.clear()
        self._index.labels(version).set(1)
