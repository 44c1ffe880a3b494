"""The turns of a conversation as files write them: OpenAI's, ShareGPT's, with tools, with reasoning, and with marks on single turns."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from csqa_loop.data.rules.cells import is_blank, list_in, text_in
from csqa_loop.data.rules.reasoning import KEYS, without_reasoning
from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.data.rules.worth import MarkKind, Verdict, is_mark, is_off, verdict_of
from csqa_loop.events import ChatMessage

Role = Literal["system", "user", "assistant"]
Notes = Counter[str]
"""What was done to rows beside reading them, and to how many."""
TOOLS = "tool calls and their results stand as text under the customer's message"
AFTER = "turns after the last answer are left out"
DIVERGED = "turns after the first answers that differ are left out of pairs"
EMPTY_SYSTEM = "an empty system turn is none"
REASONING = "a model's reasoning is taken off answers"
UNTAUGHT = "answers that are marked as not to be taught are context only"

_ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "customer", "client", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "agent"), "assistant"),
}  # type: ignore[dict-item]
_CALLS = {"function_call", "tool_call"}
_RESULTS = {"tool", "function", "observation", "tool_response", "tool_result", "function_response", "ipython", "environment"}
_NOT_TAUGHT = ("weight", "loss", "train", "training", "loss_scale")
_MARKS = ("liked", "rating", "thumb", "thumbs", "label", "score", "feedback", "stars")
_TEXT_PARTS = {"text", "input_text", "output_text"}
_SPEAKER = re.compile(r"(?:\A|\n)[ \t]*(?:###[ \t]*)?(Human|Assistant|User|System)[ \t]*:[ \t]?", re.IGNORECASE)

_SPELLED = re.compile(r"\s*\[\s*\{.*['\"](?:role|from)['\"]\s*:", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said."""

    role: Role
    content: str
    taught: bool = True
    """False: the file marks it as context only."""
    verdict: Verdict | None = None
    """What the file says of this turn alone."""

    @property
    def message(self) -> ChatMessage:
        """As a model gets it."""
        return ChatMessage(role=self.role, content=self.content)


def turns_in(value: Any, where: str, notes: Notes | None = None) -> list[Turn]:
    """The turns of a list. Tool calls and results become text under the customer's turn before them.

    Raises:
        RowRefusedError: it is no list of turns, or one of them says nothing.
    """
    value = list_in(value, repr(where)) if isinstance(value, str) else value
    if not isinstance(value, list) or not value:
        raise RowRefusedError("roles", f"{where!r} is no list of messages; each is an object with role and content, or from and value")
    noted: set[str] = set()
    turns: list[Turn] = []
    for number, turn in enumerate(value, start=1):
        place = f"{where!r}, turn {number}"
        if not isinstance(turn, Mapping):
            raise RowRefusedError("roles", f"{place} is {type(turn).__name__}; an object with role and content is expected")
        name = str(turn.get("role", turn.get("from", ""))).strip().casefold()
        content = _content(turn.get("content", turn.get("value")))
        called = list(_calls(turn))
        if name in _CALLS or name in _RESULTS or called:
            said = [f"[{'tool call' if name in _CALLS else 'tool result'}] {_as_text(content, place)}"] if name not in _ROLES else []
            said += [without_reasoning(text_in(content, place))] if name in _ROLES else []
            _fold(turns, [*said, *called], f"{place}: role {name!r}")
            noted.add(TOOLS)
        elif name not in _ROLES:
            raise RowRefusedError("roles", f"{place}: role {name!r} is not one of {', '.join((*_ROLES, *sorted(_CALLS | _RESULTS)))}")
        elif _ROLES[name] == "system" and is_blank(content):
            noted.add(EMPTY_SYSTEM)
        else:
            turns.append(_turn(_ROLES[name], content, place, turn, noted))
    if notes is not None:
        notes.update(noted)
    return turns


def spoken(role: Role, content: Any, where: str) -> Turn:
    """One turn.

    Raises:
        RowRefusedError: it says nothing.
    """
    return _turn(role, content, where, {}, set())


def transcript(text: Any) -> list[Turn]:
    """The turns of a text with a speaker before each: "Human: ... Assistant: ...". Empty where it is no such text."""
    if not isinstance(text, str) or not _SPEAKER.match(text := text.strip()):
        return []
    pieces = _SPEAKER.split(text)[1:]
    said = [(speaker.casefold(), content.strip()) for speaker, content in zip(pieces[::2], pieces[1::2], strict=True)]
    if {"human", "user"}.isdisjoint(speaker for speaker, _ in said) or not all(content for _, content in said):
        return []
    return [Turn(_ROLES[speaker], content) for speaker, content in said]


def is_transcript(text: str) -> bool:
    """Whether a text begins with a customer's turn and has an assistant's, even where one of them is empty."""
    speakers = [speaker.casefold() for speaker in _SPEAKER.findall(text.strip())]
    return bool(_SPEAKER.match(text.strip())) and speakers[0] in {"human", "user"} and "assistant" in speakers


def turns_spelled(value: Any) -> Any:
    """The list of turns that a table's cell spells, and the text of a list that holds one text alone; any other value as it is."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    if not isinstance(value, str) or not _SPELLED.match(value):
        return value
    try:
        return list_in(value, "")
    except RowRefusedError:
        return value


def through_last_answer(turns: Sequence[Turn], notes: Notes) -> list[Turn]:
    """Without what follows the last answer: nothing answers it."""
    end = max((place for place, turn in enumerate(turns, start=1) if turn.role == "assistant"), default=len(turns))
    if end < len(turns):
        notes[AFTER] += 1
    return list(turns[:end])


def _turn(role: Role, content: Any, where: str, said: Mapping[str, Any], noted: set[str]) -> Turn:
    text = text_in(content, where).strip()
    if not text:
        raise RowRefusedError("empty", f"{where} is empty; every turn must say something")
    if role != "assistant":
        return Turn(role, text)
    answer = without_reasoning(text)
    if answer != text or any(not is_blank(said.get(key)) for key in KEYS):
        noted.add(REASONING)
    if not answer:
        raise RowRefusedError("empty", f"{where} holds a model's reasoning and no answer")
    taught = not any(is_off(said[key]) for key in _NOT_TAUGHT if key in said) and not _masked(said)
    if not taught:
        noted.add(UNTAUGHT)
    mark = next((key for key in _MARKS if is_mark(said.get(key))), "")
    return Turn(role, answer, taught, verdict_of(said[mark], f"{where}: {mark}", kind=kind_of_mark(mark)) if mark else None)


def kind_of_mark(name: str) -> MarkKind:
    """How numbers in a column or key of this name are read."""
    return "stars" if "rating" in name or "star" in name else "score" if "score" in name else "thumb"


def _masked(said: Mapping[str, Any]) -> bool:
    """Whether parts of a turn are marked as not to be taught: the rest of it is no answer."""
    parts: list[Any] = next((said[key] for key in ("train_detail", "training_detail") if isinstance(said.get(key), list)), [])
    return any(isinstance(part, Mapping) and is_off(part.get("train")) for part in parts)


def _calls(turn: Mapping[str, Any]) -> Iterator[str]:
    calls = turn.get("tool_calls")
    for call in calls if isinstance(calls, list) else [turn.get("function_call")]:
        if isinstance(call, Mapping):
            named = call.get("function")
            function = named if isinstance(named, Mapping) else call
            arguments = function.get("arguments", "")
            spelled = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            yield f"[tool call] {function.get('name', '')} {spelled}".strip()


def _fold(turns: list[Turn], said: Sequence[str], where: str) -> None:
    """Put what tools said, and what an assistant said on the way, under the customer's last turn."""
    asked = max((place for place, turn in enumerate(turns) if turn.role == "user"), default=-1)
    if asked < 0:
        raise RowRefusedError("roles", f"{where} stands before any turn of the customer; it can only follow one")
    on_the_way = [turn.content for turn in turns[asked + 1 :]]
    content = "\n\n".join(filter(None, (turns[asked].content, *on_the_way, *said)))
    turns[asked:] = [replace(turns[asked], content=content)]


def _content(value: Any) -> Any:
    """OpenAI's list of parts as one text; anything but text is refused where it is read."""
    if isinstance(value, list) and all(isinstance(part, Mapping) and part.get("type") in _TEXT_PARTS for part in value):
        return "".join(text_in(part.get("text"), "a part's text") for part in value)
    return value


def _as_text(value: Any, where: str) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | Mapping) else text_in(value, where).strip()
