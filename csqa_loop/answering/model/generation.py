"""Replies of a model server become an answer."""

from typing import Any

from csqa_loop.answering.model.server import Generation
from csqa_loop.answering.rules.replies import OddReplyError, Piece, told_reason, whole_answer


class GrowingAnswer:
    """An answer while it is streamed."""

    def __init__(self, adapter: str) -> None:
        self._adapter = adapter
        self._texts: list[str] = []
        self._logprobs: list[float] | None = []
        self._prompt_tokens = 0
        self._completion_tokens: int | None = None
        self.size = 0
        """Bytes of its text."""
        self.finish_reason = ""

    def add(self, piece: Piece) -> None:
        """What came next."""
        self.size += len(piece.text.encode())
        self._texts.append(piece.text)
        if self._logprobs is not None:
            if piece.logprobs is None:
                self._logprobs = None
            else:
                self._logprobs += piece.logprobs
        self._prompt_tokens = piece.prompt_tokens or self._prompt_tokens
        self._completion_tokens = piece.completion_tokens or self._completion_tokens
        self.finish_reason = piece.finish_reason or self.finish_reason

    def whole(self) -> Generation:
        """The answer.

        Raises:
            OddReplyError: it is none.
        """
        if not self.finish_reason:
            raise OddReplyError("ended its answer in the middle")
        text, logprobs = "".join(self._texts), tuple(self._logprobs or ())
        completion_tokens = len(logprobs) if self._completion_tokens is None else self._completion_tokens
        return Generation(text, self._adapter, self._prompt_tokens, completion_tokens, told_reason(self.finish_reason, text), logprobs)


def generation_of(name: str, reply: dict[str, Any]) -> Generation:
    """An answer that came in one piece.

    Raises:
        OddReplyError: it is none.
    """
    piece = whole_answer(reply)
    return Generation(
        text=piece.text,
        adapter=name,
        prompt_tokens=piece.prompt_tokens or 0,
        completion_tokens=piece.completion_tokens or 0,
        finish_reason=told_reason(piece.finish_reason, piece.text),
        logprobs=piece.logprobs or (),
    )
