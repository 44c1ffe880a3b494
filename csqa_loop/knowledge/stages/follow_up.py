"""A question that says nothing without the turn before it is searched together with that turn."""

import re
import unicodedata
from collections.abc import Sequence

_LEANS_EN = re.compile(
    r"^(and|but|so|or|then|what about|how about|what if|same|also|otherwise|in that case|why|how come|really|ok|okay|yes|no)\b"
    r"|\b(it|its|that|this|those|these|they|them|their|one|ones|there|then)\b[^a-z]*",
    re.IGNORECASE,
)
_LEANS_ZH = re.compile(
    r"^(那|这|它|他们|还有|另外|如果|要是|不然|为什么|所以|然后|可是|但是|好的|好吧)|(它|这个|那个|这样|那样|这种|那种|这些|那些)|[呢哪]$"
)
_MOST_WORDS = 12
_MOST_HAN = 14
_FEW_WORDS = 3
_FEW_HAN = 5
_WORD = re.compile(r"[a-z0-9']+", re.IGNORECASE)
_HAN = re.compile(r"[\u3400-\u9fff]")
_MOST_CHARACTERS = 300
"""Of the turn before: its end, where customers ask."""


def searched(question: str, turns: Sequence[str]) -> str:
    """What to search for `question`. `turns`: what the customer wrote before it, oldest first."""
    before = next((turn for turn in reversed(turns) if turn.strip()), "")
    if not before or not leans(question):
        return question
    return f"{before.strip()[-_MOST_CHARACTERS:]}\n{question}"


def leans(question: str) -> bool:
    """Whether it is short and points at something said before, or is hardly anything."""
    text = unicodedata.normalize("NFKC", question).strip().rstrip("?？!！。. ")
    han = len(_HAN.findall(text))
    if han:
        return han <= _FEW_HAN or (han <= _MOST_HAN and bool(_LEANS_ZH.search(text)))
    words = len(_WORD.findall(text))
    return words <= _FEW_WORDS or (words <= _MOST_WORDS and bool(_LEANS_EN.search(text)))
