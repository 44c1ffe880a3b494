"""Which encoding bytes are in that are not UTF-8: the one in which they read as a language that people write."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter

_MOST_BROKEN = 0.5
"""Share of lines that may not decode: some may be damaged."""
_LEAST_COMMON = 0.12
"""Share of characters that are among a language's most common ones. Running text has 0.3 to 0.6, wrongly decoded bytes nearly none."""
_LEAST_OF_ALPHABET = 0.9
_MOST_OF_ALPHABET = 2 / 3
_COMMON_HAN = 0.6
"""Share of Han characters of GB 2312's first level above which bytes are taken for GB 18030 where they read as nothing else."""
_ESCAPES = re.compile(rb"\x1b\$[@B]")

# The most frequent characters of running text. Bytes of one encoding give rare characters in another.
_KANA = "".join(map(chr, (*range(0x3041, 0x3097), *range(0x30A1, 0x30FB), 0x30FC))) + "。、「」・！？"
_SIMPLIFIED = (
    "的一是不了在有人我他这中大来上国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想看文"
    "无开手十用主行方又如前所本见经头面公同三已老从动两长知样现请您买货退换单收付款费运订商品客服问查询内需价格元保修送快递账户消息电话支持吗呢吧何"
)
_TRADITIONAL = (
    "的一是不了在有人我他這中大來上國到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可她裡後小麼心多天而能好都然沒日於起還發成事只作當想看文"
    "無開手十用主行方又如前所本見經頭面公同三已老從動兩長知樣現請您買貨退換單收付款費運訂商品客服問查詢內需價格元保修送快遞帳戶消息電話支援嗎呢吧何"
)
_HANGUL = (
    "이다는을가의에고하를은지도기한사리로어자니인시나대그수아해서라일있보정들만장원여전부게제주구면상과스거요안것습까문품환배송반결등신우드트음물오세성러"
    "할간조용모동경후생내없공재개야년무연회당였으려너비었미했유금행계되교감학진청실체단데름답바소불와분된마때같건방법색입출확취준르좋외날능께질"
)
_CJK: Sequence[tuple[str, frozenset[str]]] = (
    ("gb18030", frozenset(_SIMPLIFIED)),
    ("big5", frozenset(_TRADITIONAL)),
    ("cp949", frozenset(_HANGUL)),
    ("cp932", frozenset(_KANA)),
    ("euc_jp", frozenset(_KANA)),
)
_HALF_WIDTH = range(0xFF61, 0xFFA0)

_LATIN: Mapping[str, str] = {
    "French": "àâæçéèêëîïôœùûüÿ", "German": "äöüßé", "Italian": "àèéìíîòóùú", "Spanish": "áéíñóúüªº", "Portuguese": "áàâãçéêíóôõúüªº",
    "Dutch": "éèëêïíóöüáâ", "Swedish": "åäöéü", "Danish": "åæøéèöü", "Catalan": "àçéèíïóòúü·", "Icelandic": "áæéíðóöþúý", "English": "éèêçñöüï",
}  # fmt: skip
_SINGLE_BYTE: Sequence[tuple[str, Mapping[str, str]]] = (
    # Before its rarer cousins: most files of one byte a character that are not UTF-8 come from western Windows.
    ("cp1252", _LATIN),
    ("cp1250", {"Polish": "ąćęłńóśźż", "Czech": "áčďéěíňóřšťúůýž", "Slovak": "áäčďéíĺľňóôŕšťúýž", "Hungarian": "áéíóöőúüű",
                "Croatian": "čćđšž", "Romanian": "ăâîşţ", "German": "äöüß"}),
    ("iso8859_2", {"Polish": "ąćęłńóśźż", "Czech": "áčďéěíňóřšťúůýž", "Slovak": "áäčďéíĺľňóôŕšťúýž", "Hungarian": "áéíóöőúüű"}),
    ("cp1254", {"Turkish": "çğıöşüâîû"}),
    ("cp1257", {"Lithuanian": "ąčęėįšųūž", "Latvian": "āčēģīķļņšūž", "Estonian": "äöüõšž"}),
    ("mac_roman", _LATIN),
    ("cp850", _LATIN),
)  # fmt: skip
_ALPHABETS: Sequence[tuple[str, str, str]] = (
    # Encoding, its letters, the most frequent of them: Cyrillic in another encoding of Cyrillic is Cyrillic with rare letters.
    ("cp1251", "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґ", "оеаинтсрвлкм"),
    ("koi8_r", "абвгдежзийклмнопрстуфхцчшщъыьэюяё", "оеаинтсрвлкм"),
    ("cp866", "абвгдежзийклмнопрстуфхцчшщъыьэюяё", "оеаинтсрвлкм"),
    ("mac_cyrillic", "абвгдежзийклмнопрстуфхцчшщъыьэюяё", "оеаинтсрвлкм"),
    ("iso8859_5", "абвгдежзийклмнопрстуфхцчшщъыьэюяё", "оеаинтсрвлкм"),
    ("cp1253", "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ", "αοιετσνηυρπκ"),
    ("cp1255", "אבגדהוזחטיךכלםמןנסעףפץצקרשת", "יוהלאמרתבשנכ"),
    ("cp1256", "ابتثجحخدذرزسشصضطظعغفقكلمنهويىةءآأؤإئ", "اليمنوتربهعد"),
    ("cp874", "".join(map(chr, (*range(0x0E01, 0x0E3B), *range(0x0E40, 0x0E5B)))), "านรอกเงมยลวดท"),
)


def guessed_encoding(lines: Sequence[bytes]) -> str | None:
    """The encoding, as Python names it, of lines that are not UTF-8; None where they read as nothing in any."""
    rated = [(rating, name) for name, common in _CJK if (rating := _share_of_common(lines, name, common)) >= _LEAST_COMMON]
    single, fitting = _single_byte(lines)
    # An alphabet that fits leaves no room for chance; Chinese and its neighbours are told by how common their characters are.
    if rated and (max(rated)[0] >= 2 * _LEAST_COMMON or not fitting):
        return max(rated)[1]
    if fitting:
        return single
    return "gb18030" if _holds_common_han(lines) else _by_statistics(lines)


def escaped_encoding(data: bytes) -> str | None:
    """`iso2022_jp` where ASCII bytes hold its escapes."""
    return "iso2022_jp" if _ESCAPES.search(data) else None


def _share_of_common(lines: Sequence[bytes], encoding: str, common: frozenset[str]) -> float:
    decoded = list(_decoded(lines, encoding))
    if len(decoded) <= (1 - _MOST_BROKEN) * len(lines):
        return 0.0
    wide = [character for text in decoded for character in text if character > "\x7f"]
    if not wide or sum(ord(character) in _HALF_WIDTH for character in wide) > len(wide) / 4:
        return 0.0
    kana = sum("\u3041" <= character <= "\u30fc" for character in wide) / len(wide)
    if kana > _LEAST_COMMON and encoding not in {"cp932", "euc_jp"}:
        # GB 2312 and KS X 1001 have kana where EUC-JP has them, and no text of theirs is full of it.
        return 0.0
    return sum(character in common for character in wide) / len(wide)


def _single_byte(lines: Sequence[bytes]) -> tuple[str, bool]:
    """The encoding whose language takes the most of the letters, and whether it takes nearly all."""
    best, name = 0.0, ""
    for encoding, languages in _SINGLE_BYTE:
        texts = _texts(lines, encoding)
        share = max((_share_of_letters(texts, letters) for letters in languages.values()), default=0.0) if texts else 0.0
        if share >= _LEAST_OF_ALPHABET:
            return encoding, True
        if share > best:
            best, name = share, encoding
    alphabets = [
        (_share_of_frequent(texts, letters, frequent), encoding)
        for encoding, letters, frequent in _ALPHABETS
        if (texts := _texts(lines, encoding))
    ]
    share, encoding = max(alphabets, key=itemgetter(0), default=(0.0, ""))
    return (encoding, True) if share else (name, best > _MOST_OF_ALPHABET)


def _texts(lines: Sequence[bytes], encoding: str) -> list[str]:
    texts = list(_decoded(lines, encoding))
    return texts if len(texts) > (1 - _MOST_BROKEN) * len(lines) else []


def _share_of_letters(texts: Sequence[str], letters: str) -> float:
    """Share of the letters beyond ASCII, and of the signs within words, that a language has; in the wrong encoding cases change within words."""
    found = [pair for text in texts for pair in _beyond_ascii(text)]
    return sum(fitting and not {character, character.casefold()}.isdisjoint(letters) for character, fitting in found) / max(1, len(found))


def _share_of_frequent(texts: Sequence[str], letters: str, frequent: str) -> float:
    """Share of an alphabet's most frequent letters; 0 where not nearly all are its letters."""
    return _share_of_letters(texts, frequent) if _share_of_letters(texts, letters) >= _LEAST_OF_ALPHABET else 0.0


def _beyond_ascii(text: str) -> Iterator[tuple[str, bool]]:
    """Each letter beyond ASCII, and each sign within a word, with whether its case fits what stands before it."""
    for before, character in pairwise(f" {text} "):
        if character <= "\x7f":
            continue
        if character.isalpha():
            yield character, not (before.islower() and character.isupper())
        elif before.isalpha() and character not in "’‘“”«»–—…\xa0°€£§©®™¿¡·":
            yield character, True


def _decoded(lines: Sequence[bytes], encoding: str) -> Iterator[str]:
    for line in lines:
        try:
            yield line.decode(encoding)
        except UnicodeDecodeError:
            continue


def _holds_common_han(lines: Sequence[bytes]) -> bool:
    """Whether the Han characters are those that people write: wrongly decoded bytes give rare ones."""
    han = [character.encode("gb18030") for text in _texts(lines, "gb18030") for character in text if "\u4e00" <= character <= "\u9fff"]
    # The first level of GB 2312, 3755 characters by frequency, has lead bytes B0 to D7.
    return bool(han) and sum(0xB0 <= pair[0] <= 0xD7 and pair[1] >= 0xA1 for pair in han) >= _COMMON_HAN * len(han)


def _by_statistics(lines: Sequence[bytes]) -> str | None:
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return None
    guess = from_bytes(b"".join(lines)).best()
    # Without their marks those of two and four bytes are told by their empty bytes, not by chance.
    return guess.encoding if guess and not guess.encoding.startswith("utf") else None
