"""Nearly equal texts: by their character trigrams, and where those are too many to keep by the MinHash of those.

Chinese questions are compared by characters and pairs of them, as most words have one or two, and without the words that only make a question
of a matter: "多久可以退货" and "多久能退货" ask the same.
"""

import functools
import itertools
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csqa_loop.text.normal import normalised

_NGRAM = 3
_PERMUTATIONS = 64
_SEED = 1
_SCHEME = "affine32"
_GRAMS_AT_ONCE = 200_000
_NEAR_REPEAT = 0.8
_COMPARED_IN_A_BUCKET = 100
_CHINESE = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_ASKING = re.compile(
    r"请问一下|请问|麻烦问一下|想问一下|问一下|可不可以|能不能|是不是|是否|可以|能够|一下|我们|你们|您们|能|吗|呢|啊|呀|吧|嘛|的|了|我|你|您|请"
)
# 16 bands of 4 rows find 9,998 of 10,000 repeats at a similarity of 0.8 and all beyond: 1 - (1 - 0.8^4)^16.
_BAND_ROWS = 4
# 8 bands of 8 rows find 92 % of duplicates at a similarity of 0.85 and 99 % at 0.9, and 3 % of what is half alike: 1 - (1 - s^8)^8.
_DUPLICATE_BANDS = (8, 8)
_BANDS_FROM = 0.8


class Protected:
    """Questions that no training question may nearly repeat. An inverted index of n-grams counts what each has in common with a question: exact,
    and where thousands are made from one template, as tests and shops have them, faster than comparing those that MinHash finds.
    """

    def __init__(self, questions: Iterable[str]) -> None:
        self._questions = sorted(question for question in set(questions) if normalised(question))
        holding: dict[str, list[int]] = defaultdict(list)
        sizes = []
        for position, question in enumerate(self._questions):
            ngrams = _ngrams(question)
            sizes.append(len(ngrams))
            for gram in ngrams:
                holding[gram].append(position)
        self._sizes = np.array(sizes, dtype=np.intp)
        self._holding = {gram: np.array(positions, dtype=np.intp) for gram, positions in holding.items()}

    def repeated_by(self, questions: Iterable[str]) -> Mapping[str, str]:
        """Of these questions, those that nearly repeat a protected one -> which."""
        repeats: dict[str, str] = {}
        for question in sorted(set(questions)):
            own = _ngrams(question)
            if met := [self._holding[gram] for gram in own if gram in self._holding]:
                both = np.bincount(np.concatenate(met), minlength=len(self._sizes))
                alike = both >= _NEAR_REPEAT * (len(own) + self._sizes - both)
                if alike[first := int(alike.argmax())]:
                    repeats[question] = self._questions[first]
        return repeats


def signature(text: str) -> bytes:
    """MinHash of the text's character trigrams: 64 little-endian uint32, equal in every process. Empty for a text without letters and digits."""
    hashes = _hashes(normalised(text))
    if not hashes.size:
        return b""
    factors, shifts = _permutations()
    row: NDArray[np.uint32] = (factors[:, None] * hashes + shifts[:, None]).min(axis=1)
    return row.astype("<u4").tobytes()


def signatures(texts: Sequence[str]) -> list[bytes]:
    """The signature of every text; many at once cost a quarter of one by one."""
    return _signed((_hashes(normalised(text)) for text in texts), len(texts))


def _signed(texts: Iterable[NDArray[np.uint32]], count: int) -> list[bytes]:
    made = [b""] * count
    batch: list[tuple[int, NDArray[np.uint32]]] = []
    size = 0
    for position, hashes in enumerate(texts):
        if hashes.size:
            batch.append((position, hashes))
            size += hashes.size
        if batch and (size > _GRAMS_AT_ONCE or position == count - 1):
            starts = np.cumsum([0, *(each.size for _, each in batch[:-1])])
            together = np.concatenate([each for _, each in batch])
            columns = [np.minimum.reduceat(together * factor + shift, starts) for factor, shift in zip(*_permutations(), strict=True)]
            for (signed, _), row in zip(batch, np.stack(columns, axis=1).astype("<u4"), strict=True):
                made[signed] = row.tobytes()
            batch, size = [], 0
    return made


def similarity(first: bytes, second: bytes) -> float:
    """Estimated Jaccard similarity of the texts behind two signatures, in [0, 1], with a standard error of at most 1/16.

    An empty signature is like nothing, itself included.
    """
    if not first or not second:
        return 0.0
    return float(np.mean(np.frombuffer(first, dtype="<u4") == np.frombuffer(second, dtype="<u4")))


def near_duplicates(signatures: Sequence[bytes], threshold: float) -> Mapping[int, int]:
    """Index -> the earliest index that it is like, by `threshold` or more, and that is itself no duplicate. Empty signatures are none."""
    # Who is found is compared in full, so missing a duplicate is what counts; where the library chooses, it misses two of three at 0.85.
    bands, rows_a_band = _DUPLICATE_BANDS if threshold >= _BANDS_FROM else _usual_bands(threshold)
    signed = [position for position, entry in enumerate(signatures) if entry]
    rows = _rows([signatures[position] for position in signed])
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    duplicates: dict[int, int] = {}
    for number, row in enumerate(rows):
        own = list(itertools.islice(_bands(signatures[signed[number]], rows_a_band), bands))
        candidates = np.array(list({other for band in own for other in buckets.get(band, ())}), dtype=np.intp)
        like = candidates[np.count_nonzero(rows[candidates] == row, axis=1) >= threshold * _PERMUTATIONS]
        if like.size:
            duplicates[signed[number]] = signed[like.min()]
        else:
            for band in own:
                buckets[band].append(number)
    return duplicates


def near_groups(texts: Sequence[str], *, together: Iterable[tuple[int, int]] = ()) -> list[int]:
    """A group for each text, named by a position in it: texts that nearly repeat one another, over any number of steps, share one.

    Pairs in `together` share one whatever they say. MinHash finds those that could be alike, their trigrams decide.
    """
    leaders = list(range(len(texts)))

    def group_of(place: int) -> int:
        while leaders[place] != place:
            leaders[place] = place = leaders[leaders[place]]
        return place

    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        leaders[place] = first.setdefault(normalised(text), place)
    for one, other in together:
        leaders[group_of(one)] = group_of(other)
    grams = {place: _ngrams(letters) for letters, place in first.items() if letters}
    # Thousands of texts made from one template fill a bucket; the last ones are enough to join its group.
    buckets: dict[tuple[int, bytes], deque[int]] = defaultdict(lambda: deque(maxlen=_COMPARED_IN_A_BUCKET))
    for place, signed in zip(grams, signatures([texts[place] for place in grams]), strict=True):
        for band in _bands(signed):
            bucket = buckets[band]
            for other in bucket:
                if group_of(place) != group_of(other) and _alike(grams[place], grams[other]):
                    leaders[group_of(place)] = group_of(other)
            bucket.append(place)
    return [group_of(place) for place in range(len(texts))]


def _bands(signature: bytes, rows: int = _BAND_ROWS) -> Iterator[tuple[int, bytes]]:
    """Texts that share one of these may be near repeats."""
    size = rows * np.dtype("<u4").itemsize
    return ((start, signature[start : start + size]) for start in range(0, len(signature), size))


def _hashes(letters: str) -> NDArray[np.uint32]:
    """A number for each trigram, mixed as datasketch mixes them (MurmurHash3's finaliser) before it permutes."""
    codes = np.frombuffer(letters.encode("utf-32-le"), dtype="<u4").astype(np.uint64)
    if 0 < codes.size < _NGRAM:
        codes = np.pad(codes, (0, _NGRAM - codes.size))
    # A code point has 21 bits: three of them are one number, which a multiplication spreads over its upper half (Knuth, volume 3, 6.4).
    return _mixed(codes[:-2] << np.uint64(42) | codes[1:-1] << np.uint64(21) | codes[2:])


def _mixed(grams: NDArray[np.uint64]) -> NDArray[np.uint32]:
    mixed = ((grams * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)).astype(np.uint32)
    mixed = (mixed ^ mixed >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    mixed = (mixed ^ mixed >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return mixed ^ mixed >> np.uint32(16)


# datasketch is imported where it is needed: it brings SciPy, and the gateway reads pairs without comparing them.


@functools.cache
def _permutations() -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, seed=_SEED, scheme=_SCHEME).permutations


def _usual_bands(threshold: float) -> tuple[int, int]:
    """(bands, rows of each) for what is meant to be found from `threshold` on."""
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, weights=(0.1, 0.9))
    return index.b, index.r


def _rows(signatures: Sequence[bytes]) -> NDArray[np.uint32]:
    return np.frombuffer(b"".join(signatures), dtype="<u4").reshape(-1, _PERMUTATIONS)


def _matter(text: str) -> tuple[str, bool]:
    """What a question is about, and whether that is in Chinese."""
    letters = normalised(text)
    if not _CHINESE.search(letters):
        return letters, False
    return _ASKING.sub("", letters) or letters, True


def _ngrams(text: str) -> frozenset[str]:
    letters, chinese = _matter(text)
    if chinese:
        return frozenset([*letters, *map("".join, itertools.pairwise(letters))])
    return frozenset(letters[start : start + _NGRAM] for start in range(max(1, len(letters) - _NGRAM + 1)))


def _alike(first: frozenset[str], second: frozenset[str]) -> bool:
    smaller, larger = sorted((len(first), len(second)))
    if smaller < _NEAR_REPEAT * larger:
        return False  # sets of such sizes cannot overlap enough
    both = len(first & second)
    return both >= _NEAR_REPEAT * (smaller + larger - both)
