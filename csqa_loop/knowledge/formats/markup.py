"""HTML in Markdown: what a reader sees of it."""

import html
import re
from html.entities import html5

_ELEMENT_NAMES = (
    "a abbr acronym address area article aside audio b base bdi bdo big blockquote body br button canvas caption center cite code col "
    "colgroup data datalist dd del details dfn dialog dir div dl dt em embed fieldset figcaption figure font footer form frame frameset "
    "h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img input ins kbd label legend li link main map mark marquee menu meta meter nav "
    "nobr noscript object ol optgroup option output p param picture pre progress q rp rt ruby s samp script search section select slot "
    "small source span strike strong style sub summary sup svg table tbody td template textarea tfoot th thead time title tr track tt u ul "
    "var video wbr"
)
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_LINE_NAMES = (
    "a abbr acronym b bdi bdo big button cite code data del dfn em font i img input ins kbd label mark nobr picture q s samp small span "
    "strike strong sub sup svg time tt u var wbr"
)
_WITHIN_A_LINE = frozenset(_LINE_NAMES.split())
_CELLS = frozenset(("td", "th"))
_ATTRIBUTES = r"""(?:\s+[A-Za-z_:@][\w:.@-]*(?:\s*=\s*(?:[^\s"'=<>`]+|'[^']*'|"[^"]*"))?)*"""
_MARKUP = re.compile(
    r"(?P<kept>\\[!-/:-@\[-`{-~]|(?P<ticks>(?<!`)`+(?!`)).*?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<unseen><!-->|<!--->|<!--.*?-->|<(?P<held>script|style|template)\b[^>]*>.*?(?:</(?P=held)\s*>|\Z)|<\?.*?\?>|<![A-Za-z][^>]*>)"
    rf"|<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9-]*)(?P<attributes>{_ATTRIBUTES})\s*(?P<alone>/?)>"
    r"|(?P<entity>&(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)",
    re.DOTALL | re.IGNORECASE,
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_ROW = re.compile(r"<tr\b.*?(?:</tr\s*>|(?=<tr\b)|\Z)", re.DOTALL | re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")


def visible(text: str) -> str:
    """A block of Markdown without comments and tags and with its entities decoded; code spans and escaped characters stay as they are.

    `<order number>` and `a <b and c> d` are no tags: HTML has no element and no attributes of these names.
    """
    if "<" not in text and "&" not in text:
        return text
    return _BLANK_LINES.sub("\n", _MARKUP.sub(_seen, text))


def lines_of_html(text: str) -> list[tuple[str, bool]]:
    """What is seen of a block of HTML, line by line, and whether a line is the row of a table.

    A comment that is never closed hides what follows, as it does for a browser.
    """
    text = _COMMENT.sub("", text)
    lines: list[tuple[str, bool]] = []
    read_to = 0
    for row in _ROW.finditer(text):
        lines += _lines(text[read_to : row.start()])
        lines.append((" ".join(visible(row[0]).split()).removesuffix("|").rstrip(), True))
        read_to = row.end()
    return [line for line in (*lines, *_lines(text[read_to:])) if line[0]]


def _lines(text: str) -> list[tuple[str, bool]]:
    return [(line.strip(), False) for line in visible(text).split("\n")]


def _seen(found: re.Match[str]) -> str:
    if found["kept"]:
        return found[0]
    if found["unseen"]:
        return ""
    if found["entity"]:
        known = found["entity"][1] == "#" or found["entity"][1:] in html5
        return html.unescape(found["entity"]).replace("\xa0", " ") if known else found[0]
    name, attributes = found["name"].lower(), found["attributes"]
    within_a_line = name in _WITHIN_A_LINE
    is_tag = name in _ELEMENTS and not (within_a_line and attributes and "=" not in attributes)
    if not is_tag and not (found["close"] or found["alone"] or "=" in attributes):
        return found[0]
    if within_a_line:
        # 14<sup>1</sup> days are not 141.
        return "^" if name == "sup" and found.string[found.end() : found.end() + 1].isdigit() and not found["close"] else ""
    if name in _CELLS:
        return " | " if found["close"] else ""
    return "\n- " if name == "li" and not found["close"] else "\n"
