"""Texts as they are compared."""

import re
import unicodedata
from functools import lru_cache

_OTHER = re.compile(r"[\W_]+")


@lru_cache(maxsize=5_000)  # the texts of one pair are asked for by blame, by quality and by signatures
def normalised(text: str) -> str:
    """Letters and digits alone, case and width folded: two spellings of one sentence are equal."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _OTHER.sub("", folded)


def encodable(text: str) -> bool:
    """Whether UTF-8 can hold it. JSON's escapes can spell half of a surrogate pair, which no file, log or table takes."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
