"""Payment cards and bank accounts."""

import re
from collections.abc import Iterator

from csqa_loop.text.masking.view import Clues, Finding

_BRANDS = (
    # (first digits from, to, lengths): the ranges that the networks publish.
    ("4", "4", {13, 16, 19}),  # Visa
    ("51", "55", {16}),  # Mastercard
    ("2221", "2720", {16}),
    ("34", "34", {15}),  # American Express
    ("37", "37", {15}),
    ("62", "62", {16, 17, 18, 19}),  # UnionPay
    ("81", "81", {16, 17, 18, 19}),
    ("6011", "6011", {16, 17, 18, 19}),  # Discover
    ("644", "649", {16, 17, 18, 19}),
    ("65", "65", {16, 17, 18, 19}),
    ("3528", "3589", {16, 17, 18, 19}),  # JCB
    ("300", "305", {14, 15, 16, 17, 18, 19}),  # Diners Club
    ("3095", "3095", {14, 15, 16, 17, 18, 19}),
    ("36", "36", {14, 15, 16, 17, 18, 19}),
    ("38", "39", {14, 15, 16, 17, 18, 19}),
    ("5018", "5018", set(range(12, 20))),  # Maestro
    ("5020", "5020", set(range(12, 20))),
    ("5038", "5038", set(range(12, 20))),
    ("5893", "5893", set(range(12, 20))),
    ("6304", "6304", set(range(12, 20))),
    ("6759", "6759", set(range(12, 20))),
    ("6761", "6763", set(range(12, 20))),
)
SHORTEST, LONGEST = 12, 19
_FIRST = frozenset(first[0] for first, _, _ in _BRANDS)


def is_card(digits: str) -> bool:
    """A network's first digits, a length that it issues, and the check digit."""
    if not SHORTEST <= len(digits) <= LONGEST or digits[0] not in _FIRST:
        return False
    size = len(digits)
    return any(size in sizes and first <= digits[: len(first)] <= last for first, last, sizes in _BRANDS) and luhn(digits)


def luhn(digits: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value  # the digit sum of a two-digit product
    return total % 10 == 0


_IBANS = """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18
    FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21
    LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24
    SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBANS.split()}
"""Characters by country (ISO 13616, SWIFT's IBAN registry)."""
_IBAN = re.compile(r"(?<![0-9A-Za-z])(?:(?i:iban|konto|account|acct)[-_]?)?([A-Za-z]{2})[ ._-]?\d ?\d(?=[ ._-]{0,2}[0-9A-Za-z])")
_COUNTRY = re.compile(rb"aa[ .]?0 ?0")
_ACCOUNT_CHARACTER = re.compile(r"[ ._·/-]{0,2}([0-9A-Za-z])")


def find_ibans(view: str, look: Clues) -> Iterator[Finding]:
    """Accounts of the length that their country gives them, with the right checksum, however they are grouped."""
    if _COUNTRY.search(look.shape) is None:
        return
    for match in _IBAN.finditer(view):
        start, place = match.start(1), match.start(1)
        account = ""
        size = IBAN_LENGTHS.get(match[1].upper())
        if size is None:
            continue
        for _ in range(size):
            following = _ACCOUNT_CHARACTER.match(view, place)
            if following is None:
                break
            account += following[1]
            place = following.end()
        else:
            glued = view[place : place + 1]
            if not (glued.isascii() and glued.isalnum()) and iban_valid(account):
                yield Finding(start, place, "[iban]")


def iban_valid(account: str) -> bool:
    """ISO 13616: the rearranged account, letters as 10 to 35, is 1 modulo 97."""
    rearranged = account[4:] + account[:4]
    return int("".join(str(int(character, 36)) for character in rearranged)) % 97 == 1
