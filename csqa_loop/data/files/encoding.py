"""Which encoding a file is in, and its text as lines that never fail: a bad byte is a lone surrogate, which its reader refuses by line."""

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from csqa_loop.errors import PermanentError

_BLOCK = 1024 * 1024
LONGEST_LINE = 8 * 1024 * 1024
"""Characters: what a record of the log may hold."""
_SAMPLE_LINES = 20_000
_SAMPLE_BYTES = 256 * 1024
_COMMON_HAN = 0.6
"""Share of Han characters of GB 2312's first level, above which bytes that decode as GB 18030 are taken for it."""
_UTF8 = "utf-8-sig"
_WIDE = {"utf-16", "utf-32"}


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


def survey(path: Path) -> Survey:
    """Hash, number of lines and encoding of a file.

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
    # UTF-32's mark begins with that of UTF-16.
    if head in {codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE}:
        return Survey(digest.hexdigest(), lines, "utf-32")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Survey(digest.hexdigest(), lines, "utf-16")
    if is_utf8 or head.startswith((codecs.BOM_UTF8, b"SQLi")):
        return Survey(digest.hexdigest(), lines, _UTF8)
    return Survey(digest.hexdigest(), lines, _legacy(path))


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
    text = b"".join(sample)
    if _is(text, "gb18030") and _reads_as_chinese(text.decode("gb18030")):
        return "gb18030"
    # Some lines may be damaged: then most of them decode.
    decodable = [line for line in sample if _is(line, "gb18030")]
    if 2 * len(decodable) > len(sample) and _reads_as_chinese(b"".join(decodable).decode("gb18030")):
        return "gb18030"
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        raise PermanentError(f"{path} is neither UTF-8 nor GB 18030; save it as UTF-8, or pip install 'csqa-loop[reports]'") from error

    guess = from_bytes(text).best()
    if guess is None:
        raise PermanentError(f"{path}: {bad} of {good + bad} lines are not UTF-8 and no other encoding fits; save it as UTF-8")
    return guess.encoding


def _reads_as_chinese(text: str) -> bool:
    """Whether the Han characters in it are the ones that people write: wrongly decoded bytes give rare ones."""
    han = [character for character in text if "\u4e00" <= character <= "\u9fff"]
    # The first level of GB 2312, 3755 characters by frequency, has lead bytes B0 to D7.
    common = sum(0xB0 <= character.encode("gb18030")[0] <= 0xD7 and character.encode("gb18030")[1] >= 0xA1 for character in han)
    return bool(han) and common >= _COMMON_HAN * len(han)


def _is(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def errors_of(encoding: str) -> str:
    """The handler that keeps bad bytes visible: UTF-16 and UTF-32 have no surrogates to spare."""
    return "replace" if encoding in _WIDE else "surrogateescape"


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
    if encoding in _WIDE:
        return f"it holds bytes that are not {encoding.upper()}" if "\ufffd" in text else None
    named = "UTF-8" if encoding == _UTF8 else encoding
    if encoding != _UTF8 and _is(text.encode(encoding, "surrogateescape"), "utf-8"):
        return f"it is UTF-8 in a file that is {named}"
    for place, character in enumerate(text, start=1):
        if "\udc80" <= character <= "\udcff":
            return f"byte {ord(character) - 0xDC00:#04x} at character {place} is not {named}"
    return None
