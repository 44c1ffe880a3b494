"""Preference pairs and rated answers as the rows that trainers read.

dpo and kto are TRL's conversational formats, alpaca and sharegpt those of the projects of that name. Only a category is added to them, where
there is one: trainers ignore columns that they do not know.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

Format = Literal["dpo", "kto", "alpaca", "sharegpt"]
Messages = Sequence[Mapping[str, str]]
ExportRow = dict[str, Any]
_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


def pair_rows(format_: Format, messages: Messages, chosen: str, rejected: str, category: str = "") -> Iterator[ExportRow]:
    """The rows of one pair: two for kto, where each answer is rated by itself, else one."""
    rows: list[ExportRow]
    match format_:
        case "dpo":
            rows = [{"prompt": list(messages), "chosen": [_assistant(chosen)], "rejected": [_assistant(rejected)]}]
        case "kto":
            rows = [_rated(messages, chosen, liked=True), _rated(messages, rejected, liked=False)]
        case "alpaca":
            rows = [_alpaca(messages, chosen)]
        case "sharegpt":
            turns = [_turn(message["role"], message["content"]) for message in messages]
            rows = [{"conversations": turns, "chosen": _turn("assistant", chosen), "rejected": _turn("assistant", rejected)}]
    for row in rows:
        yield row | _category(category)


def rated_row(messages: Messages, answer: str, *, liked: bool, category: str = "") -> ExportRow:
    """One rated answer, for kto."""
    return _rated(messages, answer, liked=liked) | _category(category)


def _rated(messages: Messages, answer: str, *, liked: bool) -> ExportRow:
    return {"prompt": list(messages), "completion": [_assistant(answer)], "label": liked}


def _alpaca(messages: Messages, answer: str) -> ExportRow:
    """Earlier turns go to `history` and the system message to `system`, as trainers of that format expect them; both only where there are any.

    `history` holds whole rounds. Turns that make none (two of a customer in a row) are joined to the next one.
    """
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    rounds: list[list[str]] = []
    asked: list[str] = []
    for message in messages:
        if message["role"] == "user":
            asked.append(message["content"])
        elif message["role"] == "assistant":
            if asked:
                rounds.append(["\n\n".join(asked), message["content"]])
                asked = []
            elif rounds:
                rounds[-1][1] += "\n\n" + message["content"]
            # A greeting before the first question answers nothing; the format has no place for it.
    row: ExportRow = {"instruction": "\n\n".join(asked), "input": "", "output": answer}
    return row | ({"system": system} if system else {}) | ({"history": rounds} if rounds else {})


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def _turn(role: str, content: str) -> dict[str, str]:
    return {"from": _SHAREGPT[role], "value": content}


def _category(category: str) -> ExportRow:
    return {"category": category} if category else {}
