"""Late interaction: each word of a question looks for its nearest word in a passage."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from csqa_loop.knowledge.encoder import Tokens
from csqa_loop.knowledge.stages.late import LateInteraction


class Words:
    """Each word has a direction of its own."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def encode_tokens(self, texts: Sequence[str]) -> list[Tokens]:
        self.asked.append(list(texts))
        return [self._tokens(text.split()) for text in texts]

    def _tokens(self, words: list[str]) -> Tokens:
        numbers = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) % 512 for word in words]
        vectors = np.zeros((len(words), 512), np.float32)
        vectors[np.arange(len(words)), numbers] = 1.0
        return Tokens(np.array(numbers, np.int64), vectors)


async def test_the_share_of_the_question_that_is_said_weighted_by_rarity() -> None:
    late = LateInteraction(Words(), most_kept=10)
    scores = await late.scores("return laptop", {"a": "return anything", "b": "return laptop", "c": "return shirt", "d": "nothing"})
    assert scores["b"] == pytest.approx(1.0, abs=0.01)
    assert scores["d"] == pytest.approx(0.0, abs=0.01)
    assert scores["a"] == pytest.approx(scores["c"])
    assert 0.2 < scores["a"] < 0.5, "the word that most have says less than the one that one has"


async def test_passages_are_encoded_once_and_the_least_used_are_given_up() -> None:
    words = Words()
    late = LateInteraction(words, most_kept=2)
    await late.scores("x", {"a": "one", "b": "two"})
    await late.scores("x", {"b": "two", "a": "one"})
    assert words.asked == [["x", "one", "two"], ["x"]]
    await late.scores("x", {"a": "one", "c": "three"})
    await late.scores("x", {"a": "one", "b": "two"})
    assert words.asked[2:] == [["x", "three"], ["x", "two"]]


async def test_texts_without_tokens_have_no_score() -> None:
    late = LateInteraction(Words(), most_kept=2)
    assert await late.scores("x", {"a": "", "b": "x"}) == {"b": pytest.approx(1.0, abs=0.01)}
    assert await late.scores("", {"a": "one"}) == {}
