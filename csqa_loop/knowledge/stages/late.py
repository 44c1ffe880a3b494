"""The late-interaction stage: each word of a question looks for its nearest word in a passage.

Score = the mean, over the question's tokens weighted by their rarity, of the best cosine with a token of the passage. Khattab and Zaharia 2020,
"ColBERT", section 3.2 (MaxSim), with an encoder that was not trained for it; rarity as in BM25: ln(1 + N / (1 + n)).
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from csqa_loop.knowledge.encoder import Tokens


class TokenEncoder(Protocol):
    """An encoder that tells of each token."""

    async def encode_tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """In the order of `texts`."""
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    """Tokens at a quarter of the memory: vectors as int8, 127 for 1."""

    numbers: NDArray[np.int64]
    vectors: NDArray[np.int8]


class LateInteraction:
    """Passages' tokens are made when they first are candidates, and kept, those not used for longest given up first."""

    def __init__(self, encoder: TokenEncoder, most_kept: int) -> None:
        """`most_kept` passages, about 50 KiB each."""
        self._encoder = encoder
        self.most_kept = most_kept
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # by text

    async def scores(self, question: str, texts: Mapping[str, str]) -> dict[str, float]:
        """Candidate -> score in [-1, 1], for the candidates' texts. A token is rare where few of them have it, so it is the same on all gateways.

        Raises:
            TransientError: the encoder does not answer.
        """
        unknown = list(dict.fromkeys(text for text in texts.values() if text not in self._kept))
        asked, *made = await self._encoder.encode_tokens([question, *unknown])
        fresh = {
            text: _Kept(tokens.numbers, np.rint(tokens.vectors * 127).astype(np.int8)) for text, tokens in zip(unknown, made, strict=True)
        }
        passages = {name: fresh.get(text) or self._kept[text] for name, text in texts.items()}
        self._keep(texts.values(), fresh)
        return _scores(asked, {name: kept for name, kept in passages.items() if len(kept.numbers)})

    def _keep(self, used: Iterable[str], fresh: Mapping[str, _Kept]) -> None:
        self._kept.update(fresh)
        for text in used:
            self._kept.move_to_end(text)
        while len(self._kept) > self.most_kept:
            self._kept.popitem(last=False)


def _scores(asked: Tokens, passages: Mapping[str, _Kept]) -> dict[str, float]:
    if not len(asked.numbers):
        return {}
    holding = Counter(number for kept in passages.values() for number in set(kept.numbers.tolist()))
    rarity = np.array([math.log(1 + len(passages) / (1 + holding[number])) for number in asked.numbers.tolist()], np.float32)
    weights = rarity / rarity.sum()
    return {
        name: float((asked.vectors @ kept.vectors.astype(np.float32).T).max(axis=1) @ weights) / 127.0 for name, kept in passages.items()
    }
