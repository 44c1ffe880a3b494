"""From a row to examples: plain columns, Alpaca, ShareGPT, OpenAI's messages, and TRL's conversational shapes.

A conversation of several turns gives one example for each answer, with the earlier turns as its context.
"""

import json
from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from typing import Any

from csqa_loop.data.rules.columns import Columns
from csqa_loop.data.rules.examples import Example, Split
from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.events import ChatMessage
from csqa_loop.text.normal import encodable, normalised

LONGEST_TEXT = 200_000
"""Characters: the limit of an event's text."""
_LONGEST_CATEGORY = 200
_ROLES: Mapping[str, str] = {
    "system": "system",
    **dict.fromkeys(("user", "human", "customer", "client"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "agent"), "assistant"),
}
_LIKED: Mapping[str, bool] = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "up", "like", "liked", "good", "positive", "👍", "赞", "好评", "是"), True),
    **dict.fromkeys(("false", "0", "0.0", "-1", "no", "down", "dislike", "disliked", "bad", "negative", "👎", "踩", "差评", "否"), False),
}


def examples_of(values: Mapping[str, Any], columns: Columns) -> list[Example]:
    """The examples of one row, in the order of the conversation.

    Raises:
        RowRefusedError: what the row lacks or says wrongly, and what would be right.
    """
    liked, rejected = _liked(values.get(columns.liked)), values.get(columns.rejected)
    if liked is not None and not _blank(rejected):
        raise RowRefusedError("label", "it has a rejected answer and a thumb; a row is a pair or a rated answer, not both")
    category = _text(values.get(columns.category), "category").strip()
    if len(category) > _LONGEST_CATEGORY:
        raise RowRefusedError("too long", f"category has {len(category)} characters; at most {_LONGEST_CATEGORY} are kept")
    generator = _text(values.get(columns.generator), "generator")[:_LONGEST_CATEGORY]
    made_from = _text(values.get(columns.made_from), "made_from").strip()
    turns = _turns(values, columns)
    examples = _asked(turns, values.get(columns.chosen), rejected, liked)
    split = _split(values.get(columns.split))
    return [
        Example(messages, answer, bad, liked=liked, category=category, split=split, generator=generator, made_from=made_from)
        for messages, answer, bad in examples
    ]


_Asked = tuple[tuple[ChatMessage, ...], str, str | None]


def _turns(values: Mapping[str, Any], columns: Columns) -> list[ChatMessage]:
    """Everything said before the answers in question; for a conversation without any, everything."""
    if columns.conversation:
        turns = _messages(values[columns.conversation], columns.conversation)
        system = _text(values.get(columns.system), "system").strip()
        return [ChatMessage(role="system", content=system), *turns] if system and turns[0].role != "system" else turns
    prompt = values.get(columns.question)
    if isinstance(prompt, list):
        return _messages(prompt, columns.question)
    if _blank(prompt) and isinstance(values.get(columns.chosen), list):
        return []
    return _flat(values, columns)


def _flat(values: Mapping[str, Any], columns: Columns) -> list[ChatMessage]:
    question = _text(values.get(columns.question), "question").strip()
    if not question:
        raise RowRefusedError("empty", f"{columns.question!r} is empty; it must hold the customer's question")
    turns = []
    if system := _text(values.get(columns.system), "system").strip():
        turns.append(ChatMessage(role="system", content=system))
    for number, (asked, answered) in enumerate(_history(values.get(columns.history)), start=1):
        turns += [_message("user", asked, f"history {number}"), _message("assistant", answered, f"history {number}")]
    # Alpaca: the input is what the instruction is about.
    context = _text(values.get(columns.input), "input").strip()
    turns.append(_message("user", f"{question}\n\n{context}" if context else question, "question"))
    return turns


def _asked(turns: list[ChatMessage], chosen: Any, rejected: Any, liked: bool | None) -> list[_Asked]:
    if _blank(chosen):
        if not _blank(rejected):
            raise RowRefusedError("empty", "it has a rejected answer but no chosen one; both make a pair")
        if turns and turns[-1].role == "assistant":
            return _each_answer(turns, last_only=liked is not None)
        raise RowRefusedError("empty", "its answer is empty; a row needs what should be answered")
    if isinstance(chosen, list) and not turns:
        turns, chosen, rejected = _common_prompt(chosen, rejected)
    if not turns or turns[-1].role != "user":
        raise RowRefusedError("roles", "the conversation before the answer does not end with the customer; its last turn must be theirs")
    answer = _answer(chosen, "chosen")
    bad = None if _blank(rejected) else _answer(rejected, "rejected")
    if bad is not None and normalised(answer) == normalised(bad):
        raise RowRefusedError("equal", "chosen and rejected say the same; a pair needs two different answers")
    return [(tuple(turns), answer, bad)]


def _each_answer(turns: Sequence[ChatMessage], *, last_only: bool) -> list[_Asked]:
    """One example an assistant turn that follows a customer's; greetings are context. A thumb rates the last answer alone."""
    answered: list[_Asked] = [
        (tuple(turns[:place]), turn.content, None)
        for place, turn in enumerate(turns)
        if turn.role == "assistant" and place and turns[place - 1].role == "user"
    ]
    if not answered:
        raise RowRefusedError("roles", "no assistant turn follows a customer's; there is nothing to learn from")
    return answered[-1:] if last_only else answered


def _common_prompt(chosen: list[Any], rejected: Any) -> tuple[list[ChatMessage], Any, Any]:
    """TRL's implicit prompt: what two whole conversations begin with."""
    good = _messages(chosen, "chosen")
    bad = _messages(rejected, "rejected") if isinstance(rejected, list) else [*good[:-1], _message("assistant", rejected, "rejected")]
    if good[:-1] != bad[:-1]:
        raise RowRefusedError("roles", "chosen and rejected do not begin with the same turns; they must differ in the last one alone")
    return good[:-1], [good[-1].model_dump()], [bad[-1].model_dump()]


def _answer(value: Any, where: str) -> str:
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list):
        messages = _messages(value, where)
        if len(messages) != 1 or messages[0].role != "assistant":
            raise RowRefusedError("roles", f"{where} must be one assistant message; it has {len(messages)} of {_listed(messages)}")
        return messages[0].content
    text = _text(value, where).strip()
    if not text:
        raise RowRefusedError("empty", f"{where} is empty; it must hold an answer")
    return text


def _messages(value: Any, where: str) -> list[ChatMessage]:
    if isinstance(value, str):
        value = _json_list(value, where)
    if not isinstance(value, list) or not value:
        raise RowRefusedError("roles", f"{where!r} is no list of messages; each is an object with role and content, or from and value")
    messages = []
    for number, turn in enumerate(value, start=1):
        if not isinstance(turn, Mapping):
            raise RowRefusedError(
                "roles", f"{where!r}, turn {number} is {type(turn).__name__}; an object with role and content is expected"
            )
        name = str(turn.get("role", turn.get("from", ""))).strip().casefold()
        if name not in _ROLES:
            raise RowRefusedError("roles", f"{where!r}, turn {number}: role {name!r} is not one of {', '.join(_ROLES)}")
        messages.append(_message(_ROLES[name], _content(turn.get("content", turn.get("value"))), f"{where!r}, turn {number}"))
    return messages


def _message(role: str, content: Any, where: str) -> ChatMessage:
    text = _text(content, where).strip()
    if not text:
        raise RowRefusedError("empty", f"{where} is empty; every turn must say something")
    return ChatMessage.model_validate({"role": role, "content": text})


def _content(value: Any) -> Any:
    """OpenAI's list of parts as one text; anything but text is refused where it is read."""
    if isinstance(value, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in value):
        return "".join(_text(part.get("text"), "a part's text") for part in value)
    return value


def _history(value: Any) -> list[tuple[Any, Any]]:
    if _blank(value):
        return []
    rounds = _json_list(value, "history") if isinstance(value, str) else value
    if not isinstance(rounds, list) or any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in rounds):
        raise RowRefusedError("roles", "history is no list of [question, answer] pairs")
    return [(asked, answered) for asked, answered in rounds]


def _json_list(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowRefusedError("roles", f"{where} holds text that is no JSON list ({error})") from error


def _liked(value: Any) -> bool | None:
    if _blank(value):
        return None
    known = _LIKED.get(str(value).strip().casefold())
    if known is None:
        raise RowRefusedError("label", f"the thumb is {str(value)[:40]!r}; true, false, 1, 0, up, down, good or bad is expected")
    return known


def _split(value: Any) -> Split:
    name = _text(value, "split").strip().casefold()
    if name in {"", "train"}:
        return "train"
    if name in {"holdout", "test", "validation", "eval"}:
        return "holdout"
    raise RowRefusedError("label", f"split is {name[:40]!r}; train or holdout is expected")


def _text(value: Any, where: str) -> str:
    if value is None or _is_nan(value):
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and not isfinite(value)):
        raise RowRefusedError("shape", f"{where} is {json.dumps(value)}; text is expected")
    if isinstance(value, bytes):
        raise RowRefusedError("encoding", f"{where} holds bytes that are not UTF-8")
    if isinstance(value, list | Mapping):
        raise RowRefusedError("shape", f"{where} is a {'list' if isinstance(value, list) else 'JSON object'}; text is expected")
    text = str(value)
    if len(text) > LONGEST_TEXT:
        raise RowRefusedError("too long", f"{where} has {len(text)} characters; at most {LONGEST_TEXT} are taken")
    if not encodable(text):
        raise RowRefusedError("encoding", f"{where} holds half of a surrogate pair, which no UTF-8 text can hold")
    return text


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value == [] or _is_nan(value)


def _is_nan(value: Any) -> bool:
    """What programs write into JSON for a cell that is empty."""
    return isinstance(value, float) and isnan(value)


def _listed(messages: Sequence[ChatMessage]) -> str:
    return ", ".join(message.role for message in messages)
