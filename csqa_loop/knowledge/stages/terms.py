"""The terms that the lexical stage compares: English words, single Han characters and pairs of them.

Customers write Chinese in other words than policies do, and share characters with them more often than words: on 88 questions about pages that
nobody tuned for, BM25 over characters and pairs found the passage first for 52 %, over a segmenter's words for 30 %.
"""

import re
import unicodedata
from collections.abc import Iterator

_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+")


def terms_of(text: str) -> list[str]:
    """The terms of a text, in order, with repetitions; the same for questions and passages."""
    return list(_terms(unicodedata.normalize("NFKC", text).casefold()))


def _terms(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        if word.isascii():
            yield word
            continue
        end = 0
        for run in _HAN.finditer(word):
            if run.start() > end:
                yield word[end : run.start()]
            end = run.end()
            han = run.group()
            yield from han
            yield from (han[place : place + 2] for place in range(len(han) - 1))
        if end < len(word):
            yield word[end:]
