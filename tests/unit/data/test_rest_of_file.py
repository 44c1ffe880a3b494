"""Nothing of a file vanishes: it is read, or it is reported with its line."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csqa_loop.data.files import json_rows, open_data_file
from csqa_loop.data.importing import Importer, ImportOptions
from csqa_loop.data.rules.report import Tally
from csqa_loop.data.rules.rows import Broken, Remark, Row
from csqa_loop.data.seen import SeenBefore
from csqa_loop.errors import PermanentError
from csqa_loop.evidence.rules.quality import QualityPolicy


def read(file: Path, content: str) -> tuple[list[object], list[int], list[str]]:
    """Values, lines that are refused, remarks."""
    file.write_bytes(content.encode())
    rows = list(open_data_file(file).rows())
    return (
        [dict(row.values) for row in rows if isinstance(row, Row)],
        [row.line for row in rows if isinstance(row, Broken)],
        [f"{row.line}: {row.text}" for row in rows if isinstance(row, Remark)],
    )


@pytest.mark.parametrize(
    ("content", "rows", "refused"),
    [
        ('[{"q": 1}],\n{"q": 2},\n{"q": 3}]', 3, []),
        ('[{"q": 1}]\n[{"q": 2}, {"q": 3}]\n', 3, []),
        ('[{"q": 1}]{"q": 2}{"q": 3}', 3, []),
        ('[{"q": 1},{"q": 2},{"q": 3}]\nthe end\n', 3, [2]),
        ('[{"q": 1},{"q": 2},{"q": 3}\n}\n]', 3, [2]),
        ('[{"q": 1},{"q": 2}]\n{"q": 3}, {"q"\n', 3, [2]),
    ],
)  # fmt: skip
def test_what_follows_a_list_is_read_or_reported(tmp_path: Path, content: str, rows: int, refused: list[int]) -> None:
    good, broken, remarks = read(tmp_path / "a.json", content)
    assert good == [{"q": number + 1} for number in range(rows)]
    assert broken == refused
    assert "the end" in content or len(remarks) == (content.index("]") < len(content) - 2)


def test_what_stands_beside_a_wrapped_list_is_named(tmp_path: Path) -> None:
    good, broken, remarks = read(tmp_path / "a.json", '{"data": [{"q": 1}],\n "version": {"a": [1, 2]}, "test": [{"q": 2}]}\n')
    assert (good, broken) == ([{"q": 1}], [])
    assert remarks == ['1: beside the list stand "version", "test", which are not read']


def test_several_objects_on_one_line_are_read(tmp_path: Path) -> None:
    content = '{"q": 1}{"q": 2} {"q": 3}\n\ufeff{"q": 4},\n{"q": 5}{"q"\n\0\n{"q": 6}\0\n'
    good, broken, _ = read(tmp_path / "a.JSONL", content)
    assert good == [{"q": number} for number in (1, 2, 3, 4, 6)]
    assert broken == [3]


def test_csv_with_a_separator_line_a_repeated_header_and_an_unnamed_index(tmp_path: Path) -> None:
    good, broken, remarks = read(tmp_path / "a.CSV", '\ufeffsep=;\n;q;"a, b"\n0;x;y\n1;z;w\0\n;q;a, b\n')
    assert good == [{"q": "x", "a, b": "y"}, {"q": "z", "a, b": "w\0"}]
    assert broken == [5]
    assert remarks == ["3: column 1 has no name in the header and is not read; it begins with '0'"]


_PIECE = st.sampled_from(
    ['{"question":"How?","answer":"So."}', "[", "]", "{", "}", ",", "\n", '"', ":", "x", "\\", '"q":1', "\ufeff", "\0", " "]
)


@given(st.lists(_PIECE, max_size=12), st.integers(1, 30))
@settings(deadline=None)
def test_any_text_behind_a_list_gives_rows_and_ends(pieces: list[str], block: int) -> None:
    text = "".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_BLOCK", block)
        found = list(json_rows.json_list(io.StringIO('[{"q":0}]' + text), lambda text: None))
    assert isinstance(found[0], Row)
    # Whatever is more than brackets, commas and blanks is a row or refused.
    assert (len(found) > 1) == bool(text.strip(" \n\ufeff,[]")) or "[" in text


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"How long?,So.", b'"a,b', b"\xff,\xfe", b"a,b,c", b'{"question":"q","answer":"No, never."}']), max_size=8),
       st.sampled_from(["a.csv", "a.jsonl", "a.json"]))  # fmt: skip
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_taken_held_or_refused_whatever_the_bytes(tmp_path: Path, lines: list[bytes], name: str) -> None:
    start = {
        "a.csv": b"question,answer\n",
        "a.jsonl": b'{"question":"Who?","answer":"We do it."}\n',
        "a.json": b'[{"question":"Who?","answer":"We do."},\n',
    }
    file = tmp_path / name
    file.write_bytes(start[name] + b"\n".join(lines))
    tally = Tally()
    try:
        with SeenBefore() as seen:
            found = list(Importer(ImportOptions(), seen, tally, QualityPolicy()).examples(open_data_file(file).rows()))
    except PermanentError:
        return  # the file as a whole is refused, with its reason
    assert sum(tally.row_verdicts.values()) == tally.rows
    assert tally.row_verdicts["accepted"] + tally.row_verdicts["held"] == len(found)


def test_a_conversation_counts_as_one_row(tmp_path: Path) -> None:
    turns = [
        {"role": role, "content": text}
        for role, text in (("user", "q1"), ("assistant", "[Your Name]"), ("user", "q2"), ("assistant", "a two"))
    ]
    rows = [Row(1, {"messages": turns}), Row(1, {"messages": turns}), Row(2, {"messages": turns[:2]}), Row(3, {"messages": "[]"})]
    tally = Tally()
    with SeenBefore() as seen:
        list(Importer(ImportOptions(), seen, tally, QualityPolicy()).examples(rows))
    report = json.loads(json.dumps(tally.report()))
    assert report["row_verdicts"] == {"accepted": 1, "held": 0, "refused": 3}
    assert (report["rows"], report["examples"]["accepted"], report["examples"]["held"]) == (4, 1, 1)
    assert report["first"]["kind"] == "placeholder"
