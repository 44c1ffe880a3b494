"""Texts as they are compared."""

import re
import unicodedata

_OTHER = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """Letters and digits alone, case and width folded: two spellings of one sentence are equal."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _OTHER.sub("", folded)
