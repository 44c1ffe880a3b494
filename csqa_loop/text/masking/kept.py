"""What looks like somebody's number and is none: dates, identifiers, amounts, barcodes."""

import re

_DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d{2}([-/.])[01]?\d\1[0-3]?\d|[0-3]?\d([-/.])[0-3]?\d\2(?:19|20)\d{2})(?:[T ,]{1,2}\d{1,2}:\d{2}(?::\d{2})?)?(?!\d)"
    r"|(?<!\d)(?:19|20)\d{2} ?年 ?\d{1,2} ?月(?: ?\d{1,2} ?日)?"
)
_UUID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
_UNIT = re.compile(
    r"\s{0,2}(?:[%€$£¥₩₽₹]|(?:points?|pts|won|krw|usd|eur|gbp|yen|yuan|rmb|cny|jpy|hkd|twd|dollars?|euros?|pounds?|francs?|chf|cents?|pcs|pieces|units?|items|people|users|"
    r"customers|views|downloads|steps|miles|km|kg|mg|mm|cm|ml|mah|wh|kwh|lumens?|rpm|mb|gb|kb|tb|bytes|bits|hz|khz|mhz|ghz|pixels|px|dpi|seconds|minutes|hours|days|times|"
    r"stück|punkte|einheiten|kunden|schritte|pièces|unités|clients)(?![a-z])"
    r"|[号號](?:商品|产品|產品|店|门店|款|货|貨|单|單|订单|訂單|包裹|房|楼|樓|柜|桌|线|線)|[元円块塊圆圓](?!通)|韩元|韓元|日元|日圓|美元|欧元|歐元|港币|港幣|台币|新台幣|人民币|人民幣|"
    r"积分|積分|分(?!机|機)|点(?!打|联|给|回)|點(?!打)|件|个|個|台|次|笔|筆|步|毫安|公里|千米|米|克|字节|像素)",
    re.IGNORECASE,
)
_CURRENCY = re.compile(r"(?:[€$£¥₩₽₹]|\b(?:usd|eur|gbp|rmb|cny|krw|jpy|hkd|twd|nt\$?|hk\$?|us\$?)) {0,2}$", re.IGNORECASE)


def spans_in(view: str) -> list[tuple[int, int]]:
    """Dates and UUIDs."""
    found = [match.span() for match in _DATE.finditer(view)]
    return found + [match.span() for match in _UUID.finditer(view)] if view.count("-") > 3 else found


def counted(view: str, start: int, end: int) -> bool:
    """Whether the number from `start` to `end` counts something: a unit behind it, a currency before it."""
    return _UNIT.match(view, end) is not None or _CURRENCY.search(view, max(0, start - 6), start) is not None


def barcode(digits: str) -> bool:
    """GTIN of 8, 12, 13 or 14 digits with its check digit (GS1 General Specifications, 7.9)."""
    if len(digits) not in {8, 12, 13, 14}:
        return False
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits))) % 10 == 0
