"""Files of every format and encoding; damage is refused by line and the rest is read."""

import csv
import io
import json
import sqlite3
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.data.files import json_rows, open_data_file, sqlite_rows
from csqa_loop.data.files.csv_rows import csv_rows
from csqa_loop.data.files.encoding import Line
from csqa_loop.data.rules.rows import Broken, Row
from csqa_loop.errors import PermanentError

_CHINESE = "退货需要在十四天之内办理，运费由我们承担，请保留好原来的包装。"


def read(file: Path, **how: str) -> tuple[list[tuple[int, object]], list[tuple[int, str]]]:
    """Rows and broken places, by line."""
    rows = list(open_data_file(file, **how).rows())
    good = [(row.line, dict(row.values)) for row in rows if isinstance(row, Row)]
    return good, [(row.line, row.reason) for row in rows if isinstance(row, Broken)]


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-8", "utf-8-sig"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"), ("utf-32", "utf-32"), ("gbk", "gb18030")],
)
def test_encodings_are_told_apart(tmp_path: Path, encoding: str, named: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(f"问题,答案\n怎么退货？,{_CHINESE}\n运费谁出？,{_CHINESE}\n", encoding=encoding)
    assert open_data_file(file).encoding == named
    assert read(file) == ([(2, {"问题": "怎么退货？", "答案": _CHINESE}), (3, {"问题": "运费谁出？", "答案": _CHINESE})], [])


def test_another_encoding_is_guessed_from_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    text = "Можно ли вернуть товар, если упаковка повреждена? Да, в течение четырнадцати дней после получения."
    file.write_bytes(("question,answer\n" + f'"{text}","{text}"\n' * 20).encode("cp1251"))
    good, broken = read(file)
    assert broken == []
    assert good[0][1] == {"question": text, "answer": text}


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_a_line_in_another_encoding_is_refused_and_the_rest_is_read(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name == "a.csv":
        lines = ["q,a", *(f"问{n},{_CHINESE}" for n in range(2, 6))]
    else:
        lines = [json.dumps({"q": f"问{n}", "a": _CHINESE}, ensure_ascii=False) for n in range(1, 6)]
    ends = ("[", ",", "]") if name == "a.json" else ("", "", "")
    encoded = [line.encode("gbk" if number == 3 else "utf-8") for number, line in enumerate(lines, start=1)]
    file.write_bytes(ends[0].encode() + (ends[1] + "\n").encode().join(encoded) + ends[2].encode())
    good, [(line, reason)] = read(file)
    assert line == 3
    assert "is not UTF-8" in reason
    assert [number for number, _ in good] == ([2, 4, 5] if name == "a.csv" else [1, 2, 4, 5])


def test_a_utf8_line_in_a_gbk_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("\n".join(["问题,答案", f"甲,{_CHINESE}", f"乙,{_CHINESE}"]).encode("gbk") + f"\n丙,{_CHINESE}\n".encode())
    good, [(line, reason)] = read(file)
    assert (len(good), line) == (2, 4)
    assert "UTF-8 in a file that is gb18030" in reason


def test_csv_with_quotes_line_ends_and_other_delimiters(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b'q,a\r\n"one, two","say ""hi""\r\nnow"\r\n\r\nthree,four\r\n')
    assert read(file) == ([(2, {"q": "one, two", "a": 'say "hi"\r\nnow'}), (5, {"q": "three", "a": "four"})], [])
    for delimiter in "\t;|":
        file.write_text(f"q{delimiter}a\none, two{delimiter}x\n")
        assert read(file)[0] == [(2, {"q": "one, two", "a": "x"})]


def test_a_broken_csv_line_swallows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('q,a\none,1\n"two,2\n"three","3"\nfour,4,5\nfive\n"six","6"x\nseven,7\n')
    good, broken = read(file)
    assert [values["q"] for _, values in good] == ["one", "three", "seven"]
    assert [line for line, _ in broken] == [3, 5, 6, 7]
    assert "unbalanced quote" in broken[0][1]
    assert broken[1][1] == "it has 3 fields; the header has 2"


def test_a_quote_that_never_closes_costs_one_line(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('q,a\none,"1\n' + "".join(f"q{n},a{n}\n" for n in range(2000)))
    good, broken = read(file)
    assert len(good) == 2000
    assert [line for line, _ in broken] == [2]
    assert "not closed" in broken[0][1]


def test_a_record_of_several_lines_with_too_many_fields_swallows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('q,a\nq1,"a1\nq2,answer two\n",x\nq3,answer three\n')
    good, broken = read(file)
    assert good == [(3, {"q": "q2", "a": "answer two"}), (5, {"q": "q3", "a": "answer three"})]
    assert [line for line, _ in broken] == [2, 4]
    assert broken[0][1] == "it has 3 fields; the header has 2"


@given(st.text(st.sampled_from('a",\n'), max_size=40))
def test_every_line_of_a_csv_is_a_row_or_refused(text: str) -> None:
    lines = [Line(number, line) for number, line in enumerate(io.StringIO("q,a\n" + text, newline=""), start=1)]
    covered: set[int] = set()
    for row in csv_rows(iter(lines), lambda text: None):
        # A record of several lines says so in its fields.
        covered |= set(
            range(row.line, row.line + 1 + (sum(str(v).count("\n") for v in row.values.values()) if isinstance(row, Row) else 0))
        )
    assert {line.number for line in lines[1:] if line.text.strip(',"\n')} <= covered


def test_empty_columns_beside_a_table_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("q,a,,\none,1,,\ntwo,2\nthree,3,,,\nfour,4,x,\n")
    good, broken = read(file)
    assert [values for _, values in good] == [{"q": "one", "a": "1"}, {"q": "two", "a": "2"}, {"q": "three", "a": "3"}]
    assert broken == [(5, "it has 4 fields; the header has 2")]
    file.write_text(",q,a\n0,one,1\n")
    assert read(file) == ([(2, {"q": "one", "a": "1"})], [])


@pytest.mark.parametrize(
    ("text", "words"), [("q,q\n1,2\n", "more than once"), ('"q,a\n1,2\n', "header"), ("\n\n", "empty"), (",,\n", "cells are empty")]
)
def test_a_csv_needs_a_header(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text)
    with pytest.raises(PermanentError, match=words) as caught:
        read(file)
    assert str(file) in str(caught.value)


def test_json_lines_refuse_what_is_no_object(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"q": 1}\n\n{"q": \n[1]\n{"q": 2}')
    good, broken = read(file)
    assert good == [(1, {"q": 1}), (5, {"q": 2})]
    assert [line for line, _ in broken] == [3, 4]
    assert "JSON list" in broken[1][1]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("block", [7, 64, 1 << 20])
def test_a_json_list_is_read_in_pieces(tmp_path: Path, indent: int | None, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "_BLOCK", block)
    rows = [{"q": 'br]ack{et" \\', "a": [{"x": []}]}, {}, {"q": "\\\\", "n": None, "z": "中文"}]
    file = tmp_path / "a.json"
    file.write_text("\ufeff " + json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    good, broken = read(file)
    assert ([values for _, values in good], broken) == (rows, [])


@pytest.mark.parametrize("block", [16, 1 << 20])
def test_a_broken_element_of_a_json_list_swallows_nothing(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "_BLOCK", block)
    file = tmp_path / "a.json"
    file.write_text('[\n{"q": 1},\n{"q" 2},\n{"q": "unclosed},\n{"q": {"deep": 3},\n{"q": 4},\n5, "six",\n{"q": 7}\n]\n')
    good, broken = read(file)
    assert [values for _, values in good] == [{"q": 1}, {"q": 4}, {"q": 7}]
    assert {line for line, _ in broken} == {3, 4, 5, 7}


def test_a_list_that_is_cut_off_gives_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[{"q": 1},\n{"q": 2},\n{"q": ')
    good, broken = read(file)
    assert [values for _, values in good] == [{"q": 1}, {"q": 2}]
    assert broken[0][0] == 3


def test_an_sqlite_table_is_read_and_nothing_is_written(tmp_path: Path) -> None:
    file = tmp_path / "odd name?#.db"
    with sqlite3.connect(file) as connection:
        connection.execute('CREATE TABLE "my ""rows" (q TEXT, a TEXT, thumb INTEGER)')
        connection.execute('INSERT INTO "my ""rows" VALUES (?, ?, ?)', ("问题", "x", 1))
        connection.execute('INSERT INTO "my ""rows" VALUES (?, CAST(? AS TEXT), NULL)', ("b", b"\xff\xfe"))
    connection.close()
    before = file.read_bytes()
    assert read(file) == ([(1, {"q": "问题", "a": "x", "thumb": 1}), (2, {"q": "b", "a": b"\xff\xfe", "thumb": None})], [])
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE other (q TEXT)")
    connection.close()
    assert read(file, table="other") == ([], [])
    with pytest.raises(PermanentError, match="2 tables .*other.*--table"):
        read(file)
    with pytest.raises(PermanentError, match="no table 'third'"):
        read(file, table="third")
    with sqlite_rows._opened(file) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("CREATE TABLE third (q TEXT)")
    file.write_bytes(before)
    assert len(read(file)[0]) == 2
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("name", "content", "container"),
    [("a.json", '{"q": 1}\n{"q": 2}\n', "jsonl"), ("a.txt", '[{"q": 1}]', "json"), ("a.jsonl", "[]", "json"), ("a.tsv", "q\ta\n", "csv"),
     ("noending", "q,a\n", "csv")],
)  # fmt: skip
def test_a_format_is_told_by_the_content(tmp_path: Path, name: str, content: str, container: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    assert open_data_file(file).container == container


def test_a_list_may_be_wrapped(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for indent in (None, 2):
        file.write_text(json.dumps({"data": [{"q": 1}, {"q": 2}], "version": 1}, indent=indent))
        good, broken = read(file)
        assert ([values for _, values in good], broken) == ([{"q": 1}, {"q": 2}], [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("question,answer\nHow long?,14 days\n".encode("utf-16-le"), "UTF-16 or UTF-32 without a byte order mark"),
        ("question,answer\nHow long?,14 days\n".encode("utf-32-be"), "UTF-16 or UTF-32 without a byte order mark"),
        (b"PK\x03\x04\x14\0\0\0", "spreadsheet"),
        (b"\x1f\x8b\x08\0", "compressed"),
        (json.dumps({"question": "q", "answer": "a"}, indent=2).encode(), "object over several lines"),
    ],
)
def test_what_cannot_be_read_says_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    with pytest.raises(PermanentError, match=words):
        open_data_file(file)


def test_what_is_no_data_file_is_named(tmp_path: Path) -> None:
    for name, content, words in (("gone", None, "is not a file"), ("empty.csv", "", "is empty"), ("a.json", "hello", "JSON begins with")):
        file = tmp_path / name
        if content is not None:
            file.write_text(content)
        with pytest.raises(PermanentError, match=words) as caught:
            open_data_file(file)
        assert str(file) in str(caught.value)
    (tmp_path / "b.csv").write_text("q,a\n")
    with pytest.raises(PermanentError, match="no SQLite file"):
        open_data_file(tmp_path / "b.csv", container="sqlite")
    with pytest.raises(PermanentError, match="--table"):
        open_data_file(tmp_path / "b.csv", table="t")


_FIELD = st.text(st.sampled_from('ab",;\n\r[]{}\\ 中'), max_size=8)


@given(
    st.lists(st.dictionaries(_FIELD, _FIELD | st.lists(_FIELD, max_size=2)), max_size=6), st.sampled_from([None, 0, 2]), st.integers(1, 40)
)
def test_any_json_list_is_read_as_it_was_written(rows: list[dict[str, object]], indent: int | None, block: int) -> None:
    with mock.patch.object(json_rows, "_BLOCK", block):
        read_rows = list(json_rows.json_list(io.StringIO(json.dumps(rows, indent=indent, ensure_ascii=False)), lambda text: None))
    assert [row.values if isinstance(row, Row) else row for row in read_rows] == rows


@given(st.lists(st.tuples(_FIELD, _FIELD).filter(lambda fields: any(field.strip() for field in fields)), max_size=6))
def test_any_csv_is_read_as_it_was_written(rows: list[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("q", "a"), *rows])
    lines = [Line(number, line) for number, line in enumerate(io.StringIO(text.getvalue(), newline=""), start=1)]
    found = list(csv_rows(iter(lines), lambda text: None))
    assert [tuple(row.values.values()) if isinstance(row, Row) else row for row in found] == rows
