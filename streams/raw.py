"""Records as they lie in the log: what a header or a content-type says must not decide whether a batch can be read."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from faststream.kafka import KafkaMessage

R = TypeVar("R")


async def without_headers(records: R, parse: Callable[[R], Awaitable[KafkaMessage]]) -> KafkaMessage:
    """A parser for subscribers of raw records; their decoder is `undecoded`.

    FastStream reads headers as UTF-8 and bodies as their content-type says: one foreign record would fail a whole batch.
    """
    if not isinstance(records, tuple):
        return await parse(_plain(records))
    ends: Any = (_plain(records[0]), _plain(records[-1]))  # a message is named by its ends; the rest would be copied for nobody
    message = await parse(ends)
    message.raw_message = records
    return message


async def undecoded(_: KafkaMessage) -> tuple[()]:
    """FastStream would read every record as JSON before the subscriber reads it itself."""
    return ()


def _plain(record: Any) -> Any:
    return dataclasses.replace(record, headers=())
