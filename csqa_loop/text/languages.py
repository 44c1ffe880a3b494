"""Which language a text is in."""

import re
from typing import Literal

Language = Literal["en", "zh"]
DEFAULT_LANGUAGE: Language = "en"
"""Of an installation, and of a text that does not tell its own."""
_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")


def language_of(text: str, default: str = DEFAULT_LANGUAGE) -> str:
    """`zh` where the text holds Han characters, `en` where it holds Latin letters, else `default`."""
    if not text.isascii() and _HAN.search(text):
        return "zh"
    return "en" if _LATIN.search(text) else default
