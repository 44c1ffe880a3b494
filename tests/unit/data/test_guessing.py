"""Bytes that are not UTF-8 are read in the encoding in which they are a language; a guess says that it is one."""

from pathlib import Path

import pytest

from csqa_loop.data.files import open_data_file
from csqa_loop.data.files.guessing import guessed_encoding
from csqa_loop.data.rules.rows import Row
from csqa_loop.errors import PermanentError

_TEXTS = {
    "cp1252": ["Le magasin est fermé à Noël, désolé.", "¿Dónde está mi reloj? Llegará mañana.", "Die Lieferung dauert für Österreich länger.",
               "La spesa è già pagata, perché sì.", "A devolução é grátis até três dias após a entrega."],
    "cp1250": ["Paczka została wysłana, proszę czekać trzy dni na zwrot pieniędzy.", "Zboží můžete vrátit, peníze pošleme příští týden.",
               "A csomagot küldjük, győződjön meg a pénz összegéről, kérjük."],
    "cp1251": ["Магазин закрыт по воскресеньям."],
    "koi8_r": ["Магазин закрыт по воскресеньям."],
    "cp1253": ["Το κατάστημα είναι κλειστό την Κυριακή."],
    "cp1254": ["Mağaza pazar günü kapalıdır, iadeniz için teşekkür ederiz, şimdi başlayın."],
    "cp949": ["매장은 일요일에 문을 닫습니다.", "포인트는 언제 적립되나요?"],
    "cp932": ["店舗は日曜日に閉まっています。", "ポイントはいつ付きますか？"],
    "euc_jp": ["店舗は日曜日に閉まっています。", "ポイントはいつ付きますか？"],
    "big5": ["商店在星期日不營業，請您明天再來。", "會員的點數什麼時候會到？"],
    "gb18030": ["商店在星期日不营业，请您明天再来。", "会员的积分什么时候会到？"],
}  # fmt: skip


@pytest.mark.parametrize(("encoding", "text"), [(encoding, text) for encoding, texts in _TEXTS.items() for text in texts])
def test_one_line_tells_its_encoding(encoding: str, text: str, tmp_path: Path) -> None:
    assert guessed_encoding([text.encode(encoding)]) == encoding
    file = tmp_path / "a.tsv"
    file.write_bytes(f"question\tanswer\n{text}\t{text}\n".encode(encoding))
    source = open_data_file(file)
    assert (source.encoding, source.guessed) == (encoding, True)
    assert [row.values for row in source.rows() if isinstance(row, Row)] == [{"question": text, "answer": text}]


def test_what_is_certain_is_no_guess(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    for text, encoding in (("q,a\né,b\n", "utf-8"), ("q,a\né,b\n", "utf-16"), ("q,a\nb,c\n", "ascii")):
        file.write_bytes(text.encode(encoding))
        assert not open_data_file(file).guessed


@pytest.mark.parametrize(("name", "written"), [("latin-1", "iso8859_1"), ("GBK", "gbk"), ("Shift_JIS", "cp932"), ("euc-kr", "cp949"), ("UTF-16LE", "utf-16-le"), ("utf-16", "utf-16-le"),
                                               ("windows-1252", "cp1252"), ("utf8", "utf-8")])  # fmt: skip
def test_an_encoding_can_be_named(tmp_path: Path, name: str, written: str) -> None:
    file = tmp_path / "a.csv"
    text = {"latin-1": "né", "windows-1252": "né"}.get(
        name, "中文" if name in {"GBK", "utf8", "UTF-16LE", "utf-16"} else "日本" if "J" in name else "한국"
    )
    file.write_bytes(f"question,answer\n{text},{text}\n".encode(written))
    source = open_data_file(file, encoding=name)
    assert not source.guessed
    assert [row.values for row in source.rows() if isinstance(row, Row)] == [{"question": text, "answer": text}]


def test_an_unknown_encoding_lists_the_right_ones(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("q,a\n1,2\n")
    for wrong in ("klingon", "rot13", "base64", "idna", ""):
        if wrong:
            with pytest.raises(PermanentError, match=r"--encoding '.*' is no encoding.*cp1252"):
                open_data_file(file, encoding=wrong)
