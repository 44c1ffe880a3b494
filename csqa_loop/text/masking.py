"""Masks personal data in free text: e-mail addresses, phone numbers, payment cards, bank accounts and identity numbers.

What customer service talks about stays: days, prices, dates, amounts, order quantities. Where a number format has a checksum it must
hold, which is what keeps order numbers alone. Toll-free numbers and role addresses (support@...) belong to companies, not to persons,
and an answer that lost them would be of no use, so they stay as well.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

_Check = Callable[[re.Match[str]], "tuple[int, int] | None"]
"""A match to the span to mask, or None to leave it."""


class _Rule(NamedTuple):
    """What becomes `label`."""

    label: str
    pattern: re.Pattern[str]
    span_of: _Check
    digits: int
    """How many must stand close together for a match."""
    words: tuple[str, ...] = ()
    """One of which every match holds."""


# People who write Chinese type full-width digits and signs; each maps to one character, so spans stay valid.
_HALF_WIDTH = {0xFF10 + digit: str(digit) for digit in range(10)} | {
    ord(wide): narrow
    for wide, narrow in {"＠": "@", "．": ".", "－": "-", "（": "(", "）": ")", "＋": "+", "\u3000": " ", "\u00a0": " ", "–": "-"}.items()
}
# Nothing below matches without an at sign or six digits close together; with just six, as orders have, letters must stand right before them.
# Only a number that is called a document's may be shorter: four digits in a row.
_SHAPE = bytes(48 if 48 <= code <= 57 else 97 if chr(code).isalpha() and code < 128 else 64 if code == 64 else 32 for code in range(256))
"""Bytes of a text to digits, letters, at signs and the rest."""
_CLOSE = re.compile(rb"0(?:[^0]{0,3}0){5}")
_CLOSER = re.compile(rb"0(?:[^0]{0,3}0){6}")
# One or two letters before the first digit, looked for from that digit on: there are far fewer of these.
_LETTERED = re.compile(rb"0(?:(?<=[^a0]a0)|(?<=[^a0]aa0)|(?<=[^a0]a 0)|(?<=[^a0]aa 0))0(?: ?00 ?00|(?<=[^a0]aa00)(?: ?[a0]){11})")
_TELEPHONES = ("phone", "mobile", "cell", "whatsapp", "tel", "call", "text", "电话", "手机", "致电", "联系方式", "微信")
_DOCUMENTS = ("passport", "identity card", "national id", "id card", "id number", "护照", "身份证", "证件")
_FOREIGN = re.compile(f"[＠{''.join(chr(code) for code in range(0x80, 0x10000) if chr(code).isdecimal())}]")
"""At signs and digits of other scripts: rare enough to look closely wherever there is one."""

_BEFORE = r"(?<![0-9A-Za-z])(?<![0-9][.,-])"
_AFTER = r"(?![0-9A-Za-z])(?![.,-][0-9])"

_DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d{2}([-/.])[01]?\d\1[0-3]?\d|[0-3]?\d([-/.])[0-3]?\d\2(?:19|20)\d{2})(?:[T ,]{1,2}\d{1,2}:\d{2}(?::\d{2})?)?(?!\d)"
    r"|(?<!\d)(?:19|20)\d{2} ?年 ?\d{1,2} ?月(?: ?\d{1,2} ?日)?"
)

_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])([A-Za-z0-9._%+-]+)@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
ROLE_ADDRESSES = frozenset(
    {"support", "service", "help", "info", "returns", "care", "contact", "sales", "orders", "hello", "noreply", "no-reply", "kefu",
     "customerservice", "customer.service", "customer-service", "privacy", "complaints", "warranty", "billing"}
)  # fmt: skip

_IBAN = re.compile(_BEFORE + r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}" + r"(?![0-9A-Za-z])")
_IBAN_SHORTEST = 15

_LONG_IDENTITY = (
    # China, resident identity card: region, date of birth, serial, check; 18 characters, or 15 in the old form.
    re.compile(r"(?<![0-9A-Za-z])[1-9]\d{5}[ -]?(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ -]?\d{3}[0-9Xx](?![0-9A-Za-z])"),
    re.compile(r"(?<![0-9A-Za-z])[1-9]\d{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}(?![0-9A-Za-z])"),
    # United States, social security number.
    re.compile(_BEFORE + r"(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}" + _AFTER),
)
_SHORT_IDENTITY = (
    # United Kingdom, national insurance number.
    re.compile(r"(?<![0-9A-Za-z])(?i:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]) ?\d{2} ?\d{2} ?\d{2} ?(?i:[A-D])(?![0-9A-Za-z])"),
    # Hong Kong identity card.
    re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{1,2}\d{6} ?\([0-9Aa]\)"),
)
# Any passport or identity number that is called one.
_NAMED_IDENTITY = re.compile(
    r"(?i:passport|identity card|national id|id card|id number|护照|身份证|证件)(?i:[\s:：#.,是为]|number|no\b|is|号码|号){0,8}"
    r"(?P<number>(?=[A-Za-z0-9-]*\d{4})[A-Za-z0-9][A-Za-z0-9-]{4,20}[A-Za-z0-9])"
)

_CARD = re.compile(_BEFORE + r"(?:4|5[0-8]|2[2-7]|3[04-9]|6|81)(?:[ -]?\d){11,18}" + _AFTER)

_TOLL_FREE = re.compile(
    r"(?:\+?86)?(?:400|800)\d{7}\Z|(?:\+?44|0)?(?:0?800|0?808)\d{6,7}\Z|(?:\+?1)?8(?:00|33|44|55|66|77|88)\d{7}\Z|00?800\d{7,8}\Z"
)
_CHINESE_MOBILE = re.compile(r"(?<![0-9A-Za-z])(?<!\d[.,])(?:\+?86[ -]?)?1[3-9]\d(?:(?:[ -]?\d{4}){2}|\d[ -]\d{3}[ -]\d{4})(?![0-9A-Za-z])")
_PHONE = (
    # International: + or 00, country code, 8 to 15 digits.
    re.compile(r"(?<![0-9A-Za-z+])(?:\+|00)[1-9](?:[ .()-]{0,2}\d){6,13}(?!\d)"),
    # With a trunk zero: China (010-12345678), United Kingdom (07911 123456), much of Europe; 9 to 12 digits.
    re.compile(r"(?<![0-9A-Za-z.,-])(?:0\d{1,4}|\(0\d{1,4}\))(?:[ -]?\d){6,9}(?![0-9A-Za-z]|[.,]\d)"),
    # North America, with separators.
    re.compile(r"(?<![0-9A-Za-z.,-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])\d{3}[ .-]\d{4}(?![0-9A-Za-z]|[.,-]\d)"),
)
# Anything of that size that is called a phone number.
_NAMED_PHONE = re.compile(
    r"(?i:phone|telephone|mobile|cell|whatsapp|\btel\b|\bcall\b|\btext\b|电话|手机|致电|联系方式|微信)"
    r"(?i:[\s:：#.,是为]|number|no\b|\bis\b|\bat\b|\bon\b|\bme\b|\bus\b|号码|号){0,8}(?P<number>\(?\d(?:[ ().-]{0,2}\d){6,14})(?!\d)"
)


def mask(text: str) -> str:
    """Replace personal data in `text` by `[email]`, `[iban]`, `[id]`, `[card]` or `[phone]`. `mask(mask(x)) == mask(x)`.

    Replacing one number can uncover another that was glued to it, so it runs until nothing changes; each round removes digits or
    an at sign, hence it ends.
    """
    while may_tell(text):
        masked = _once(text, _rules_for(text))
        if masked == text:
            break
        text = masked
    return text


def may_tell(text: str) -> bool:
    """Whether there is anything in `text` that `mask` has to look at: an at sign, or enough digits close together."""
    shape = _shape_of(text)
    if b"@" in shape or _is_foreign(text):
        return True
    if _CLOSE.search(shape) and (_CLOSER.search(shape) or _LETTERED.search(shape)):
        return True
    return b"0000" in shape and _holds(text, _DOCUMENTS)


def _holds(text: str, words: Iterable[str]) -> bool:
    """Wherever a pattern finds a word whatever its case, this does too."""
    folded = text.lower() if text.isascii() else text.casefold().replace("ı", "i").replace("\u0307", "")
    for word in words:  # noqa: SIM110 - a generator would take as long as all the looking
        if word in folded:
            return True
    return False


def _shape_of(text: str) -> bytes:
    """One byte a character, and one before them that is neither digit nor letter."""
    return b" " + text.encode("ascii", "replace").translate(_SHAPE)


def _is_foreign(text: str) -> bool:
    return not text.isascii() and _FOREIGN.search(text) is not None


def _once(text: str, rules: Iterable[_Rule]) -> str:
    view = _narrow(text)
    for rule in rules:
        replaced = _replace(text, view, rule)
        if replaced is not text:
            text, view = replaced, _narrow(replaced)
    return text


def _narrow(text: str) -> str:
    return text if text.isascii() else text.translate(_HALF_WIDTH)


def _rules_for(text: str) -> Iterable[_Rule]:
    """Those that can match in it. At a number of six digits, as orders have, hardly any has to look."""
    shape = _shape_of(text)
    if b"@" in shape or _is_foreign(text):
        return _RULES
    digits = 7 if _CLOSER.search(shape) else 6 if _CLOSE.search(shape) else 4
    return [rule for rule in _NUMBERS if rule.digits <= digits and (not rule.words or _holds(text, rule.words))]


def _replace(text: str, view: str, rule: _Rule) -> str:
    spans = [span for match in rule.pattern.finditer(view) if (span := rule.span_of(match)) is not None]
    if not spans:
        return text
    dates = [match.span() for match in _DATE.finditer(view)]
    pieces, done = [], 0
    for start, end in spans:
        if any(start < date_end and date_start < end for date_start, date_end in dates):
            continue
        pieces += [text[done:start], rule.label]
        done = end
    return "".join((*pieces, text[done:]))


def _personal_address(match: re.Match[str]) -> tuple[int, int] | None:
    return None if match[1].lower() in ROLE_ADDRESSES else match.span()


def _number_span(match: re.Match[str]) -> tuple[int, int]:
    return match.span("number") if "number" in match.re.groupindex else match.span()


def _phone_span(match: re.Match[str]) -> tuple[int, int] | None:
    start, end = _number_span(match)
    digits = re.sub(r"[^0-9+]", "", match.string[start:end])
    return None if _TOLL_FREE.match(digits) else (start, end)


def _card_span(match: re.Match[str]) -> tuple[int, int] | None:
    return match.span() if luhn(re.sub(r"\D", "", match[0])) else None


def luhn(digits: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value  # the digit sum of a two-digit product
    return total % 10 == 0


def _iban_span(match: re.Match[str]) -> tuple[int, int] | None:
    """The longest prefix that ends at a word's end and has a right checksum: a greedy match may have swallowed the next word."""
    found = match[0]
    for end in range(len(found), _IBAN_SHORTEST - 1, -1):
        if end < len(found) and found[end].isalnum() and found[end].isascii():
            continue
        account = re.sub(r"[ -]", "", found[:end])
        if len(account) >= _IBAN_SHORTEST and _iban_valid(account):
            return match.start(), match.start() + end
    return None


def _iban_valid(account: str) -> bool:
    """ISO 13616: the rearranged account, letters as 10 to 35, is 1 modulo 97."""
    rearranged = account[4:] + account[:4]
    return int("".join(str(int(character, 36)) for character in rearranged)) % 97 == 1


_NUMBERS = (
    _Rule("[iban]", _IBAN, _iban_span, 6),
    *(_Rule("[id]", pattern, _number_span, 7) for pattern in _LONG_IDENTITY),
    *(_Rule("[id]", pattern, _number_span, 6) for pattern in _SHORT_IDENTITY),
    _Rule("[id]", _NAMED_IDENTITY, _number_span, 4, _DOCUMENTS),
    _Rule("[card]", _CARD, _card_span, 7),
    _Rule("[phone]", _CHINESE_MOBILE, _number_span, 7),  # before toll-free numbers: 1800... is a mobile in China
    *(_Rule("[phone]", pattern, _phone_span, 7) for pattern in _PHONE),
    _Rule("[phone]", _NAMED_PHONE, _phone_span, 7, _TELEPHONES),
)
_RULES = (_Rule("[email]", _EMAIL, _personal_address, 0), *_NUMBERS)
"""In the order in which they are applied."""
