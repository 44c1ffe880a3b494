"""Identity numbers of persons: those that a check digit or their form gives away, and any that is called one."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from csqa_loop.text.masking.kept import counted
from csqa_loop.text.masking.labels import WORDS, label_of
from csqa_loop.text.masking.view import Clues, Finding

_S = r"[ ._·/-]{0,2}"
_PROVINCES = "1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]"
_BIRTH = rf"(?:18|19|20)\d{{2}}{_S}(?:0[1-9]|1[0-2]){_S}(?:0[1-9]|[12]\d|3[01])"
_START, _END = r"(?<![0-9A-Za-z])(?<![0-9][.,-])", r"(?![0-9A-Za-z])(?![.,-][0-9])"


class _Form(NamedTuple):
    needs: int
    """Characters in a run of digits and short signs."""
    pattern: re.Pattern[str]
    valid: Callable[[str], bool] = lambda _: True
    """Of the letters and digits alone, in capitals. What is called a document's counts without."""
    near: re.Pattern[bytes] = re.compile(b"0")
    """What the shape of the text must hold."""
    sure: bool = True
    """Whether it stands even where it is called an order's."""


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def resident_id(number: str) -> bool:
    """China, 18 characters (GB 11643)."""
    return "10X98765432"[_weighted(number[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)) % 11] == number[17]


def hong_kong_id(number: str) -> bool:
    """Hong Kong: one or two letters, six digits, a check digit or A."""
    letters, digits, check = number[:-7], number[-7:-1], number[-1]
    values = [ord(letter) - 55 for letter in letters.rjust(2, "[")]  # an absent first letter counts 36, as does the sign after Z
    total = sum(value * weight for value, weight in zip((*values, *map(int, digits)), range(9, 1, -1), strict=True))
    return str((-total) % 11).replace("10", "A") == check


def taiwan_id(number: str) -> bool:
    """Taiwan: a letter, nine digits; of residents' numbers the old form has a second letter."""
    order = "ABCDEFGHJKLMNPQRSTUVXYWZIO"
    first = order.index(number[0]) + 10
    second = str((order.index(number[1]) + 10) % 10) if number[1].isalpha() else number[1]
    return (first // 10 + first % 10 * 9 + _weighted(second + number[2:9], (8, 7, 6, 5, 4, 3, 2, 1)) + int(number[9])) % 10 == 0


def french_id(number: str) -> bool:
    """France, number of social security: 13 digits (2A and 2B are Corsica) and a key."""
    body = number[:13].replace("2A", "19").replace("2B", "18")
    return body.isdigit() and int(body) % 97 == 97 - int(number[13:])


def brazilian_id(number: str) -> bool:
    """Brazil, CPF: nine digits and two check digits."""
    for size in (9, 10):
        if _weighted(number[:size], tuple(range(size + 1, 1, -1))) * 10 % 11 % 10 != int(number[size]):
            return False
    return len(set(number)) > 1


_FORMS = (
    # China: region, date of birth, serial, check; a check that is wrong is somebody's slip of the pen. 15 characters in the old form.
    _Form(17, re.compile(rf"(?<![0-9])(?:{_PROVINCES})\d{{4}}{_S}{_BIRTH}{_S}\d{{3}}[ -]?[0-9Xx×](?![0-9A-Za-z])")),
    _Form(15, re.compile(rf"(?<![0-9])(?:{_PROVINCES})\d{{6}}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{3}}(?![0-9A-Za-z])"), sure=False),
    # United States, social security number.
    _Form(
        9,
        re.compile(_START + r"(?!000|666|9)\d{3}([ .·-]|- | -)(?!00)\d{2}\1(?!0000)\d{4}" + _END),
        near=re.compile(rb"[^0]00[^0]{1,2}0000"),
        sure=False,
    ),
    # France.
    _Form(
        7,
        re.compile(rf"(?<![0-9])[12]{_S}\d\d{_S}[0-9]\d{_S}(?:\d\d|2[ABab]){_S}\d{{3}}{_S}\d{{3}}{_S}\d\d(?![0-9A-Za-z])"),
        french_id,
        near=re.compile(rb"0(?:[^0]{0,2}0){4}[^0]{0,2}(?:0|a)(?:[^0]{0,2}0){8}"),
    ),
    # Brazil, and Italy's codice fiscale.
    _Form(11, re.compile(r"(?<![0-9A-Za-z])\d{3}\.\d{3}\.\d{3}-\d\d(?!\d)"), brazilian_id, near=re.compile(rb"000\.000\.000")),
    _Form(
        0,
        re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{6}\d\d[A-EHLMPR-Ta-ehlmpr-t][0-7]\d[A-Za-z]\d{3}[A-Za-z](?![0-9A-Za-z])"),
        near=re.compile(b"aaaaaa00a00a000a"),
    ),
    # Taiwan.
    _Form(
        8,
        re.compile(r"(?<![0-9A-Za-z])[A-Za-z][ -]?(?:[1289]|[A-Da-d])\d{8}(?![0-9A-Za-z])"),
        taiwan_id,
        near=re.compile(rb"a[ 0]?[a0]00000000"),
        sure=False,
    ),
    # Macau, with its brackets or slashes.
    _Form(
        7,
        re.compile(r"(?<![0-9A-Za-z.,/-])[1578](?:\d{6} ?\(\d\)|/\d{6}/\d)(?![0-9A-Za-z])"),
        near=re.compile(b"000000  ?0|000000 0 "),
        sure=False,
    ),
    # United Kingdom, national insurance number.
    _Form(
        6,
        re.compile(
            rf"(?<![0-9A-Za-z])(?i:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]){_S}\d{{2}}{_S}\d{{2}}{_S}\d{{2}}{_S}(?i:[A-D])(?![0-9A-Za-z])"
        ),
        near=re.compile(rb"[^0a]aa[ .]{0,2}00"),
        sure=False,
    ),
    # Hong Kong: in brackets the last digit is a check digit, and elsewhere a check digit alone proves too little.
    _Form(
        6, re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{1,2} ?\d{6} ?\([0-9Aa]\)"), hong_kong_id, near=re.compile(b"a ?000000  ?[0a]"), sure=False
    ),
)
_OTHERS = re.compile(r"[^0-9A-Za-z]")

_NAME = "|".join(re.escape(word) for word in WORDS["document"])
_NAMED = re.compile(
    rf"(?<![^\W\d_\u2e80-\uffff])(?i:{_NAME})(?i:[\s:#.,\"'=*/()-]|number|nummer|num[eé]ro|no\b|nr\b|n°|is\b|ist\b|lautet|est\b|id\b|card\b|my\b|of\b|号码|号|號碼|號|是|为|為|"
    r"我的|编号|編號){0,12}(?P<number>[0-9A-Za-z](?:[ ._·/-]?[0-9A-Za-z]){4,21}(?: ?\([0-9A]\))?)"
)
_RUN = re.compile(r"\d(?:[ ()./·_-]{0,3}\d){5,}")
_FEWEST_DIGITS, _SHORTEST = 4, 6
_NEXT_WORD = re.compile(r"[ ._·/-](?:[A-Za-z]{2,}(?![0-9])|(?<=\d{6} )(?=[0-9A-Za-z]))")
"""What follows a number and is none of its groups."""


def find_documents(view: str, look: Clues) -> Iterator[Finding]:
    """Numbers that their form gives away."""
    longest = max(map(len, _RUN.findall(view)), default=0)
    for form in _FORMS:
        if form.needs > longest or form.near.search(look.shape) is None:
            continue
        for match in form.pattern.finditer(view):
            number = _OTHERS.sub("", match[0].replace("×", "X")).upper()
            label = label_of(view, match.start())
            if label != "document" and not form.valid(number):
                continue
            if label == "kept" and not (form.sure and (len(number) != 18 or resident_id(number))):
                continue
            yield Finding(*match.span(), "[id]")


def find_named_documents(view: str, _: Clues) -> Iterator[Finding]:
    """Whatever is called a passport's or an identity card's number and has four digits."""
    for match in _NAMED.finditer(view):
        start, end = match.span("number")
        if view[end : end + 1].isalnum() and view[end : end + 1].isascii():
            continue
        word = _NEXT_WORD.search(view, start, end)
        end = word.start() if word else end
        said = view[start:end]
        if sum(map(str.isdigit, said)) >= _FEWEST_DIGITS and len(said) >= _SHORTEST and not counted(view, start, end):
            yield Finding(start, end, "[id]")
