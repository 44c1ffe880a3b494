"""Which encoding a file is in, and its text as lines that never fail: a bad byte is a lone surrogate, which its reader refuses by line."""

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from csqa_loop.data.files.guessing import escaped_encoding, guessed_encoding
from csqa_loop.errors import PermanentError

_BLOCK = 1024 * 1024
LONGEST_LINE = 8 * 1024 * 1024
"""Characters: what a record of the log may hold."""
_SAMPLE_LINES = 20_000
_SAMPLE_BYTES = 256 * 1024
_UTF8 = "utf-8-sig"
_WIDE = ("utf-16", "utf-32", "utf_16", "utf_32")
ENCODINGS = (
    "utf_8", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "gb18030", "big5", "big5hkscs", "cp949", "cp932", "euc_jp",
    "iso2022_jp", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874", "cp437", "cp850", "cp852",
    "cp866", "koi8_r", "koi8_u", "iso8859_1", "iso8859_2", "iso8859_5", "iso8859_7", "iso8859_9", "iso8859_15", "mac_roman", "mac_cyrillic",
)  # fmt: skip
_SUPERSETS = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "ascii": "utf_8",
    "utf_8_sig": "utf_8",
    "cp950": "big5",
}
"""What is named and what is meant: files say the old name and hold the newer encoding's characters too."""


class Line(NamedTuple):
    """One line with its end, numbered from 1."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over the bytes tells."""

    sha256: str
    lines: int
    encoding: str
    """As Python names it; `utf-8-sig` for UTF-8 with and without BOM."""
    guessed: bool = False
    """Nothing but what the text then says speaks for it."""


def named_encoding(name: str) -> str:
    """The encoding that a person names, as Python names it.

    Raises:
        PermanentError: there is none of that name here; the message lists them.
    """
    try:
        found = codecs.lookup(name.strip()).name.replace("-", "_")
    except (LookupError, ValueError):
        found = ""
    found = _SUPERSETS.get(found, found)
    if found not in ENCODINGS:
        raise PermanentError(f"--encoding {name!r} is no encoding that is read here; name one of {', '.join(ENCODINGS)}")
    return {"utf_8": _UTF8, "utf_16": "utf-16", "utf_32": "utf-32"}.get(found, found)


def survey(path: Path, encoding: str = "") -> Survey:
    """Hash, number of lines and encoding of a file; `encoding` is taken where it is given.

    Raises:
        PermanentError: it cannot be read, or nothing tells its encoding.
    """
    digest, ends, last, is_utf8 = hashlib.sha256(), 0, b"", True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as handle:
            head = handle.read(4)
            handle.seek(0)
            while block := handle.read(_BLOCK):
                digest.update(block)
                ends, last = ends + block.count(b"\n"), block[-1:]
                is_utf8 = is_utf8 and _decodes(decoder, block)
            is_utf8 = is_utf8 and _decodes(decoder, b"", final=True)
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror}") from error
    lines = ends + (last not in {b"", b"\n"})
    if encoding:
        marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
        if encoding in {"utf-16", "utf-32"} and not marked:
            encoding += "-le"
        return Survey(digest.hexdigest(), lines, encoding)
    # UTF-32's mark begins with that of UTF-16.
    if head in {codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE}:
        return Survey(digest.hexdigest(), lines, "utf-32")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Survey(digest.hexdigest(), lines, "utf-16")
    if is_utf8 or head.startswith((codecs.BOM_UTF8, b"SQLi")):
        escaped = escaped_encoding(_beginning(path)) if is_utf8 else None
        return Survey(digest.hexdigest(), lines, escaped or _UTF8, guessed=bool(escaped))
    found = _legacy(path)
    return Survey(digest.hexdigest(), lines, found, guessed=found != _UTF8)


def _beginning(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(_SAMPLE_BYTES)


def _decodes(decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


def _legacy(path: Path) -> str:
    """The encoding of most lines of a file that is not UTF-8 throughout."""
    good, bad, sample, size = 0, 0, [], 0
    with path.open("rb") as handle:
        while good + bad < _SAMPLE_LINES and (line := handle.readline(_BLOCK)):
            if line.isascii():
                continue
            if _is(line, "utf-8"):
                good += 1
                continue
            bad += 1
            if size < _SAMPLE_BYTES:
                sample.append(line)
                size += len(line)
    if good >= bad:
        return _UTF8
    guess = guessed_encoding(sample)
    if guess is None:
        raise PermanentError(
            f"{path}: {bad} of {good + bad} lines are not UTF-8 and no other encoding fits; save it as UTF-8, or name it with --encoding"
        )
    return guess


def _is(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def errors_of(encoding: str) -> str:
    """The handler that keeps bad bytes visible: UTF-16 and UTF-32 have no surrogates to spare."""
    return "replace" if encoding.startswith(_WIDE) else "surrogateescape"


def lines_of(path: Path, encoding: str) -> Iterator[Line]:
    """The lines of a file. One longer than `LONGEST_LINE` comes cut, without its end."""
    number = 0
    with path.open(encoding=encoding, errors=errors_of(encoding), newline="") as handle:
        while text := handle.readline(LONGEST_LINE + 1):
            number += 1
            yield Line(number, text)
            while len(text) > LONGEST_LINE and not text.endswith(("\n", "\r")):
                text = handle.readline(LONGEST_LINE + 1)


def damage(text: str, encoding: str) -> str | None:
    """Why a text is not what stood in the file; None where it is."""
    if text.isascii():
        return None
    if encoding.startswith(_WIDE):
        return f"it holds bytes that are not {encoding.upper()}" if "\ufffd" in text else None
    named = "UTF-8" if encoding == _UTF8 else encoding
    if encoding != _UTF8 and _is(text.encode(encoding, "surrogateescape"), "utf-8"):
        return f"it is UTF-8 in a file that is {named}"
    for place, character in enumerate(text, start=1):
        if "\udc80" <= character <= "\udcff":
            return f"byte {ord(character) - 0xDC00:#04x} at character {place} is not {named}"
    return None
