"""`csqa pairs export` against a console of the test's own, and back through `csqa data`."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from typer.testing import CliRunner

from csqa_loop.commands import pairs
from csqa_loop.commands.pairs import app
from csqa_loop.data.files import open_data_file
from csqa_loop.data.rules.columns import ColumnFinder
from csqa_loop.data.rules.rows import Row
from csqa_loop.data.rules.shapes import examples_of
from csqa_loop.errors import PermanentError
from tests.console_answers import PAIR, telling

PROMPT = json.dumps([{"role": "system", "content": "政策"}, {"role": "user", "content": "多久？"}], ensure_ascii=False)
PAIRS = [
    PAIR
    | {
        "pair_id": f"p-{n}",
        "prompt": PROMPT,
        "question": "多久？",
        "chosen": f"{n} 天",
        "rejected": "不行",
        "category": "退货" if n else None,
    }
    for n in range(5)
]
UNPAIRED = [
    {
        "message_id": "m",
        "prompt": PROMPT,
        "answer": "好的",
        "liked": True,
        "category": "",
        "question": "",
        "user": "",
        "occurred_at": "2026-05-04T00:00:00Z",
    }
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A console that gives two rows a page; the queries it was asked."""
    queries: list[str] = []

    def console(path: str) -> dict[str, Any]:
        queries.append(path)
        parts = urlsplit(path)
        what = parts.path.rpartition("/")[2]
        rows: list[Any] = {"pairs": PAIRS, "unpaired": UNPAIRED}[what]
        after = int(dict(parse_qsl(parts.query)).get("after", 0))
        return {what: rows[after : after + 2], "next": str(after + 2) if after + 2 < len(rows) else None}

    monkeypatch.setattr(pairs, "ask_console", telling(console))
    monkeypatch.chdir(tmp_path)
    return queries


def test_the_next_run_is_told_with_what_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "summary": "2 pairs", "held_back": [], "taken": ["p-1", "p-2"], "users": 2, "holdout_pairs": 3, "by_source": {"correction": 2}, "by_category": {"": 2}, "min_pairs": 20,
        "min_users": 50, "fewest_pairs": 5, "max_age_hours": 24.0, "schedule": "when_due", "method": "dpo",
        "left_out": [{"pair_id": "p-3", "reason": "near_duplicate", "detail": "p-1"}],
    }  # fmt: skip
    monkeypatch.setattr(pairs, "ask_console", telling(lambda _: told))

    def said(*arguments: str) -> str:
        return CliRunner().invoke(app, ["next", *arguments], catch_exceptions=False).stdout

    assert json.loads(said("--json")) == told
    assert "2 pairs of 2 customers; 3 held-out pairs" in said()
    assert "a run starts at 20 pairs, or 5 of which the oldest is 24 h old, of 20 customers" in said()
    assert "p-3" in said()
    told["schedule"] = "daily"
    assert "daily: a run starts in each such period from 5 pairs on" in said()


def export(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["export", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(("format_", "rows"), [("dpo", 5), ("kto", 11), ("alpaca", 5), ("sharegpt", 5)])
def test_every_page_is_exported_and_can_be_read_again(asked: list[str], format_: str, rows: int) -> None:
    assert export("--format", format_, "--out", "pairs.jsonl") == ""
    finder = ColumnFinder()
    read = [row for row in open_data_file(Path("pairs.jsonl")).rows() if isinstance(row, Row)]
    examples = [example for row in read for example in examples_of(row.values, finder.find(row.values))]
    assert len(read) == len(examples) == rows
    assert examples[-1].category == ("退货" if format_ != "kto" else "")
    assert {tuple(m.model_dump().values() for m in example.messages) for example in examples[:1]}
    assert [m.content for m in examples[0].messages] == ["政策", "多久？"]
    answers = {example.answer for example in examples}
    assert {"0 天", "4 天"} <= answers
    assert ("不行" in answers) == (format_ == "kto")
    if format_ in {"dpo", "sharegpt"}:
        assert {example.rejected for example in examples} == {"不行"}


def test_a_state_is_asked_for_and_stdout_takes_it(asked: list[str]) -> None:
    lines = export("--format", "kto", "--held-out").splitlines()
    assert len(lines) == 10
    assert asked == ["/v1/pairs?state=held_out", "/v1/pairs?state=held_out&after=2", "/v1/pairs?state=held_out&after=4"]


def test_states_exclude_each_other_and_a_file_needs_a_folder(asked: list[str]) -> None:
    with pytest.raises(PermanentError, match="exclude each other"):
        export("--format", "dpo", "--fresh", "--all")
    with pytest.raises(PermanentError, match="no/such/x.jsonl cannot be written"):
        export("--format", "dpo", "--out", "no/such/x.jsonl")
    assert asked == []
