"""Events of every type for property tests, built from the models' own annotations."""

import types
import typing
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, Union
from uuid import UUID

from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from csqa_loop.events import Event

_OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=_OFFSETS)  # noqa: DTZ001 - hypothesis adds the zone
_TEXT = st.characters(exclude_categories=["Cs"])


def events(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Any event of a type: all fields drawn within their limits."""
    return _models(kind)


def some_event(kind: type[Event]) -> Event:
    """One event of a type: every field at a simple value within its limits."""
    return kind.model_validate({name: _simple(field.annotation, _limits(field.metadata)) for name, field in kind.model_fields.items()})


def _models(kind: type[BaseModel]) -> st.SearchStrategy[Any]:
    fields = {name: _drawn(field.annotation, _limits(field.metadata)) for name, field in kind.model_fields.items()}
    return st.builds(kind, **fields)


def _limits(metadata: typing.Iterable[Any]) -> dict[str, Any]:
    """What pydantic and annotated-types say about a value, by name."""
    found: dict[str, Any] = {}
    for item in metadata:
        if isinstance(item, FieldInfo):
            found |= _limits(item.metadata)
        for name in ("pattern", "min_length", "max_length", "ge", "gt", "le", "lt"):
            value = getattr(item, name, None)
            if value is not None:
                found[name] = value
    return found


def _unwrapped(annotation: Any, limits: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    while typing.get_origin(annotation) is typing.Annotated:
        annotation, *metadata = typing.get_args(annotation)
        limits = _limits(metadata) | limits
    return annotation, limits


def _drawn(annotation: Any, limits: dict[str, Any]) -> st.SearchStrategy[Any]:
    annotation, limits = _unwrapped(annotation, limits)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return st.one_of(*(_drawn(argument, limits) for argument in arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and Ellipsis not in arguments:
        return st.tuples(*(_drawn(argument, {}) for argument in arguments))
    if origin is tuple:
        return st.lists(_drawn(arguments[0], {}), min_size=limits.get("min_length", 0), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(st.text(_TEXT, max_size=5), _drawn(arguments[1], {}), max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _models(annotation)
    if annotation is str and "pattern" in limits:
        return st.from_regex(limits["pattern"], fullmatch=True)
    if annotation is str:
        return st.text(_TEXT, min_size=limits.get("min_length", 0), max_size=min(20, limits.get("max_length", 20)))
    if annotation is float:
        low, high = limits.get("ge", limits.get("gt", -1e12)), limits.get("le", limits.get("lt", 1e12))
        return st.floats(low, high, exclude_min="gt" in limits, exclude_max="lt" in limits)
    if annotation is int:
        return st.integers(limits.get("ge", limits.get("gt", -1) + 1), limits.get("lt", 2**53 + 1) - 1)
    plain = {bool: st.booleans(), UUID: st.uuids(), type(None): st.none(), AwareDatetime: _MOMENTS}
    return plain[annotation]


def _simple(annotation: Any, limits: dict[str, Any]) -> Any:
    annotation, limits = _unwrapped(annotation, limits)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return _simple(arguments[0], limits)
    if origin is Literal:
        return arguments[0]
    if origin is tuple and Ellipsis not in arguments:
        return tuple(_simple(argument, {}) for argument in arguments)
    if origin is tuple:
        return (_simple(arguments[0], {}),)
    if origin is dict:
        return {"figure": _simple(arguments[1], {})}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {name: _simple(field.annotation, _limits(field.metadata)) for name, field in annotation.model_fields.items()}
    if annotation is str and "pattern" in limits:
        return "base" if "base" in limits["pattern"] else "0123456789ab"
    plain = {
        str: "退货 return",
        float: (limits.get("ge", limits.get("gt", 0.0)) + limits.get("le", limits.get("lt", 1.0))) / 2,
        int: max(limits.get("ge", 0), 3),
        bool: True,
        UUID: "5f0c1f5e-6c0e-4c54-9d6b-0f5a4f6c7a01",
        type(None): None,
        AwareDatetime: "2026-11-22T09:30:00.123456+08:00",
    }
    return plain[annotation]
