"""Records as they lie in the log: what a header or a content-type says must not decide whether a batch can be read."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from faststream.kafka import KafkaMessage

R = TypeVar("R")


async def without_headers(records: R, parse: Callable[[R], Awaitable[KafkaMessage]]) -> KafkaMessage:
    """A parser for subscribers of raw records.

    FastStream reads headers as UTF-8 and bodies as their content-type says: one foreign record would fail a whole batch.
    """
    plain: Any = tuple(map(_plain, records)) if isinstance(records, tuple) else _plain(records)
    return await parse(plain)


def _plain(record: Any) -> Any:
    return dataclasses.replace(record, headers=())
