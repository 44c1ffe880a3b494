"""The numbers a text states, whatever their spelling: what two answers to one question must agree on."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_CURRENCY_CODE = re.compile(r"(?<![A-Za-z])(?:CNY|EUR|GBP|HKD|RMB|USD)(?=[0-9])")
_ORDER_NUMBER = re.compile(r"(?<![A-Za-z0-9])[A-Z]+-[0-9][A-Za-z0-9-]*")
_LIST_MARKER = re.compile(r"^[ \t]*[0-9]{1,2}(?:[.)]\s|、)", re.MULTILINE)
_FULL_HOUR = re.compile(r"(?<=[0-9]):00(?![0-9])")
# Spaces and commas separate thousands; letters before a digit make it part of a name (HX200). 千克 is a unit, not a thousand.
_DIGITS = re.compile(
    r"(?<![A-Za-z0-9_])(?<![0-9]\.)"
    r"([0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,3}(?: [0-9]{3})+(?![0-9])|[0-9]+)(?:\.([0-9]+))?"
    r"\s?(万|千(?![克米瓦卡]))?"
)

_UNITS = dict(zip(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], range(10), strict=True))
_TEENS = dict(
    zip(
        ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"],
        range(10, 20),
        strict=True,
    )
)
_TENS = dict(zip(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], range(20, 100, 10), strict=True))
_WORDS = _UNITS | _TEENS | _TENS
_UNDER_HUNDRED = rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_UNITS)})(?![a-z]))?|{'|'.join(_TEENS)}|{'|'.join(_UNITS)})"
_UNDER_THOUSAND = rf"(?:(?:(?:{_UNDER_HUNDRED}|a)[- ])?hundred(?: (?:and )?{_UNDER_HUNDRED}(?![a-z]))?|{_UNDER_HUNDRED})"
_ENGLISH = re.compile(
    rf"(?<![a-z])(?:(?:{_UNDER_THOUSAND}|a)[- ]thousand(?: (?:and )?{_UNDER_THOUSAND}(?![a-z]))?|{_UNDER_THOUSAND})(?![a-z])"
)
# "one" is mostly a pronoun ("this one"), and "one-time" is a kind of code: it counts before a unit or in a range.
_ONE_OF_SOMETHING = re.compile(
    r"-(?:day|hour|month|week|year)(?![a-z])"
    r"| (?:(?:business|calendar|full|working) )?(?:cent|day|dollar|euro|gram|hour|item|kilogram|kilometre|litre|metre|minute|month|night|order"
    r"|parcel|penny|percent|piece|pound|second|time|unit|week|year|yuan)s?(?![a-z])"
    rf"| (?:or|to) {_UNDER_HUNDRED}(?![a-z])"
)

_CHINESE_DIGITS = {"零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_CHINESE_MULTIPLIERS = {"十": 10, "百": 100, "千": 1000}
# What begins with 百, 千 or 万 is a word (百货, 千万, 万一), not a number.
_CHINESE = re.compile(r"[零〇一二两三四五六七八九十][零〇一二两三四五六七八九十百千万]*(?:(?<=千)(?![克米瓦卡])|(?<!千))")
_AFTER = r"工作日|小时|分钟|星期|公斤|公里|千克|千米|毫米|厘米|毫升|[天日周月年秒次件个元块米克升倍"
_CHINESE_UNIT = re.compile(
    rf"(?:{_AFTER}名位种项条张家台套箱包瓶只双本号折成级层度点份单笔页步人岁寸期])|[至到或、-][零〇一二两三四五六七八九十]"
)
# 一份, 一位 and 一种 are articles; 一点 is "a little".
_CHINESE_UNIT_OF_ONE = re.compile(rf"(?:{_AFTER}])|[至到或][零〇一二两三四五六七八九十]")
_NOT_ONE = tuple("同某每另任下上这那哪唯统万")
"""Before 一 these make a word: 同一天 is the same day, 每一件 every item, 万一 "in case"."""


@lru_cache(maxsize=20_000)  # one correction is read by blame, by quality and for contradictions
def numbers_in(text: str) -> tuple[str, ...]:
    """The distinct numbers in digits, English words and Chinese numerals, as plain decimals, the smallest first.

    Money and percentages count by their value ("£12" and "12 %" are "12"). Not counted: digits inside names and order numbers (HX200,
    A-1234), markers of a numbered list, ordinals in words, weekdays (周三), fractions in words, and "one" or 一 without a unit behind it.
    """
    return _ascending(found for paragraph in text.split("\n\n") for found in _numbers_of(paragraph))


@lru_cache(maxsize=20_000)  # thousands of prompts hold the same passages
def _numbers_of(text: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFKC", text)
    for left_out in (_CURRENCY_CODE, _ORDER_NUMBER, _LIST_MARKER, _FULL_HOUR):
        plain = left_out.sub(" ", plain)
    found = {_decimal(*match.groups(default="")) for match in _DIGITS.finditer(plain)}
    found |= _english(" ".join(plain.lower().split()))
    found |= _chinese(plain)
    return tuple(found)


def _ascending(numbers: Iterable[str]) -> tuple[str, ...]:
    # Canonical decimals order by the length of their whole part, then by their digits.
    return tuple(sorted(set(numbers), key=lambda number: (len(number.partition(".")[0]), number)))


def disagree(first: Iterable[str], second: Iterable[str]) -> bool:
    """Whether two answers to one question contradict each other by their numbers: each states one that the other does not."""
    left, right = set(first), set(second)
    return not left <= right and not right <= left


def _decimal(whole: str, fraction: str, multiplier: str) -> str:
    # By the digits and never through int or float: a text may hold thousands of them.
    shift = {"": 0, "千": 3, "万": 4}[multiplier]
    digits = whole.replace(",", "").replace(" ", "") + fraction.ljust(shift, "0")[:shift]
    rest = fraction[shift:].rstrip("0")
    return (digits.lstrip("0") or "0") + (f".{rest}" if rest else "")


def _english(text: str) -> set[str]:
    found = set()
    for match in _ENGLISH.finditer(text):
        if match.group() == "one" and not _ONE_OF_SOMETHING.match(text, match.end()):
            continue
        thousands = rest = 0
        for word in re.split("[- ]", match.group()):
            if word == "thousand":
                thousands, rest = max(rest, 1) * 1000, 0
            elif word == "hundred":
                rest = max(rest, 1) * 100
            else:
                rest += _WORDS.get(word, 0)
        found.add(str(thousands + rest))
    return found


def _chinese(text: str) -> set[str]:
    found: set[str] = set()
    for match in _CHINESE.finditer(text):
        run, start, end = match.group(), match.start(), match.end()
        if text.endswith("第", 0, start) or _is_weekday(text, start, end):
            continue
        if len(run) > 1 and any(character in "十百千万" for character in run):
            if not text.endswith("双", 0, start):
                found.add(str(_chinese_value(run)))
        elif _is_counted(text, start, end):
            # 二〇二四 is written digit by digit; 两三天 names two numbers.
            found |= {_positional(run)} if len(run) > 2 else {str(_chinese_value(character)) for character in run}
    return found


def _is_weekday(text: str, start: int, end: int) -> bool:
    """周三 and 星期三, unlike 每周三次."""
    return text.endswith(("周", "星期", "礼拜"), 0, start) and not text.startswith("次", end)


def _is_counted(text: str, start: int, end: int) -> bool:
    if text[start:end] == "一":
        return not text.endswith(_NOT_ONE, 0, start) and _CHINESE_UNIT_OF_ONE.match(text, end) is not None
    return _CHINESE_UNIT.match(text, end) is not None


def _positional(run: str) -> str:
    return "".join(str(_CHINESE_DIGITS[character]) for character in run).lstrip("0") or "0"


def _chinese_value(run: str) -> int:
    total = below_ten_thousand = digit = 0
    unit = 1
    for character in run:
        if character == "万":
            total, below_ten_thousand, digit, unit = (total + below_ten_thousand + digit) * 10_000, 0, 0, 1000
        elif character in _CHINESE_MULTIPLIERS:
            below_ten_thousand += (digit or 1) * _CHINESE_MULTIPLIERS[character]
            digit, unit = 0, _CHINESE_MULTIPLIERS[character] // 10
        else:
            digit = _CHINESE_DIGITS[character]
            # 三千五 leaves its 百 out; 三千零五 does not.
            unit = unit if digit and unit else 0
    return total + below_ten_thousand + digit * max(unit, 1)
