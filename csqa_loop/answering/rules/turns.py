"""A conversation as chat templates take it: turns of customer and assistant by turns."""

from collections.abc import Iterable

from csqa_loop.events import ChatMessage


def alternating(messages: Iterable[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The conversation as strictly alternating turns, the customer's first; templates of many models refuse anything else.

    Messages in a row from one side are one turn, a line each. One that repeats the one before it word for word was sent again, and is said
    once. A message without text is no turn: an answer that failed leaves two questions in a row.
    """
    turns: list[tuple[str, list[str]]] = []
    for message in messages:
        if not message.content.strip() or (not turns and message.role == "assistant"):
            continue
        if not turns or turns[-1][0] != message.role:
            turns.append((message.role, [message.content]))
        elif turns[-1][1][-1] != message.content:
            turns[-1][1].append(message.content)
    return tuple(ChatMessage(role="user" if role == "user" else "assistant", content="\n".join(said)) for role, said in turns)
