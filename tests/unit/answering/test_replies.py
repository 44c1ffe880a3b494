"""Whatever a model server sends is an answer or is named; and where its bytes are cut changes nothing."""

import contextlib
import itertools
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.answering.model.generation import GrowingAnswer
from csqa_loop.answering.rules.event_stream import EventReader, OverlongEventError
from csqa_loop.answering.rules.replies import (
    OddReplyError,
    Piece,
    forced_logprob,
    parsed,
    streamed_piece,
    token_ids,
    told_reason,
    whole_answer,
)

KEYS = st.sampled_from(
    ["choices", "delta", "message", "content", "finish_reason", "usage", "logprobs", "logprob", "index", "error", "text"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["stop", "abort", "tool_calls"])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=5)
LINES = st.lists(
    st.sampled_from([b"data: a", b"data:b", b"data", b"data:  c", b": note", b"", b"", b"event: x", b"id: 1", b"database: no"])
)


@given(OBJECTS | st.builds(lambda choice: {"choices": [choice]}, OBJECTS))
def test_any_json_is_a_piece_or_is_named(reply: dict[str, Any]) -> None:
    for read in (streamed_piece, whole_answer):
        try:
            piece = read(reply)
        except OddReplyError:
            continue
        assert isinstance(piece, Piece)
        answer = GrowingAnswer("base")
        answer.add(piece)
        try:
            generation = answer.whole()
        except OddReplyError:
            continue
        assert generation.finish_reason in {"stop", "length", "content_filter"}
        assert all(-math.inf < logprob <= 0 for logprob in generation.logprobs)
        assert 0 <= generation.prompt_tokens < 2**31
        assert 0 <= generation.completion_tokens < 2**31
    for score in (token_ids, forced_logprob):
        try:
            score(reply)
        except OddReplyError:
            continue


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_are_named(body: bytes) -> None:
    with contextlib.suppress(OddReplyError):
        assert isinstance(parsed(body), dict)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"5", b"<html>", b'{"a": Infinity}', b'{"a": NaN}', b'"\\ud800"', b"\xff", b"[" * 9999]
)
def test_what_is_no_object_says_so(body: bytes) -> None:
    with pytest.raises(OddReplyError, match="sent what is no JSON"):
        parsed(body)


@pytest.mark.parametrize(
    ("choice", "text", "reason"),
    [
        ({}, "", ""),
        ({"delta": None}, "", ""),
        ({"delta": {"content": None}}, "", ""),
        ({"delta": {"role": "assistant"}}, "", ""),
        ({"delta": {"content": "a"}, "finish_reason": None}, "a", ""),
        ({"delta": {"content": [{"type": "text", "text": "a"}, {"type": "image"}, "b"]}}, "ab", ""),
        ({"delta": {"reasoning_content": "hm"}, "finish_reason": "stop"}, "", "stop"),
        ({"index": 1, "delta": {"content": "another choice"}}, "", ""),
    ],
)
def test_shapes_of_pieces(choice: dict[str, Any], text: str, reason: str) -> None:
    piece = streamed_piece({"choices": [choice], "usage": None})
    assert (piece.text, piece.finish_reason) == (text, reason)
    for without in ({}, {"choices": []}, {"choices": None}):
        assert streamed_piece(without).text == ""


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ({}, "without a message"),
        ({"choices": []}, "without a message"),
        ({"choices": [{"message": None}]}, "without a message"),
        ({"choices": "text"}, "choices of another shape"),
        ({"choices": [{"message": {"content": 5}}]}, "content that is no text"),
        ({"choices": [{"message": {"content": None, "tool_calls": [{"id": "x"}]}, "finish_reason": "stop"}]}, "called a tool"),
    ],
)
def test_what_is_no_answer_says_why(reply: dict[str, Any], why: str) -> None:
    with pytest.raises(OddReplyError, match=why):
        whole_answer(reply)


def test_reasons_are_openais_or_no_answer() -> None:
    assert [told_reason(reason, "a") for reason in ("stop", "length", "content_filter", "eos", "tool_calls", "")] == [
        "stop",
        "length",
        "content_filter",
        "stop",
        "stop",
        "stop",
    ]
    for reason, text in (("abort", "a"), ("error", "a"), ("tool_calls", " ")):
        with pytest.raises(OddReplyError):
            told_reason(reason, text)


CUTS = st.lists(st.integers(0, 200)) | st.integers(1, 4).map(lambda length: list(range(0, 400, length)))


@given(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]), CUTS, st.booleans())
def test_where_a_stream_is_cut_changes_nothing(lines: list[bytes], end: bytes, cuts: list[int], marked: bool) -> None:
    whole = (b"\xef\xbb\xbf" if marked else b"") + b"".join(line + end for line in lines)
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    reader = EventReader(10_000)
    events = [event for a, b in itertools.pairwise(places) for event in reader.feed(whole[a:b])] + reader.end()
    expected: list[bytes] = []
    data: list[bytes] = []
    for line in [*lines, b""]:
        if not line and data:
            expected.append(b"\n".join(data))
            data = []
        data += {b"data: a": [b"a"], b"data:b": [b"b"], b"data": [b""], b"data:  c": [b" c"]}.get(line, [])
    assert events == expected


def test_an_event_without_an_end_is_bounded() -> None:
    reader = EventReader(1000)
    with pytest.raises(OverlongEventError):
        for _ in range(20):
            reader.feed(b"x" * 100)
    reader = EventReader(1000)
    with pytest.raises(OverlongEventError):
        for _ in range(20):
            reader.feed(b"data: " + b"x" * 100 + b"\n")


def test_probabilities_that_are_none_are_unknown() -> None:
    reply = orjson.loads(b'{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"logprob":null}]},"finish_reason":"stop"}]}')
    assert streamed_piece(reply).logprobs is None
    assert streamed_piece({"choices": [{"logprobs": {"content": [{"logprob": -1e300}, {"logprob": 0.1}]}}]}).logprobs == (-9999.0, 0.0)
