"""Which turns of a conversation fit into the model's context."""

from collections.abc import Sequence

from csqa_loop.events import ChatMessage

_SPARE_TOKENS = 64
"""The chat template's own tokens."""
_MOST_CHARACTERS = 150_000
"""Messages in a row are one question, and an event holds questions of 200,000 characters."""


def fitting(history: Sequence[ChatMessage], excerpts: Sequence[str], *, answer_tokens: int, context_tokens: int) -> tuple[ChatMessage, ...]:
    """The latest turns that fit into `context_tokens` beside excerpts and answer, never fewer than the question."""
    room = context_tokens - _SPARE_TOKENS - sum(map(_tokens, excerpts)) - answer_tokens
    start, characters = len(history), _MOST_CHARACTERS
    for place in range(len(history) - 1, -1, -1):
        room -= _tokens(history[place].content)
        characters -= len(history[place].content)
        if min(room, characters) < 0 and place < len(history) - 1:
            break
        start = place
    while start < len(history) - 1 and history[start].role != "user":
        start += 1  # templates of many models need a first message of the customer
    return tuple(history[start:])


def _tokens(text: str) -> int:
    """A generous guess at the number of tokens: no tokeniser here, and a turn too few harms less than a refused request."""
    plain = sum(map(str.isascii, text)) if not text.isascii() else len(text)
    return plain // 3 + 2 * (len(text) - plain) + 4
