"""Retrieval measured over labelled questions."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.errors import PermanentError
from csqa_loop.knowledge.evaluation import (
    AskedAbout,
    best_threshold,
    contains,
    coverage_of,
    evaluate,
    quality_of,
    read_questions,
    stages_over,
)
from csqa_loop.knowledge.retrieval import covered_from
from csqa_loop.settings import RetrievalSettings
from tests.fakes.encoder import FakeEncoder

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PAGES = {
    "returns": "# Returns\n\n## Laptops\n\nlaptops **within 14 days**\n\n## Shirts\n\nshirts within 30 days\n",
    "fees": "shipping costs five euros",
    "退货": "# 退货\n\n七天内可以退货\n",
}


async def test_each_stage_language_and_document_has_its_figures() -> None:
    stages = await stages_over(PAGES, FakeEncoder(), RetrievalSettings(), NOW)
    told: list[int] = []
    measured = await evaluate(
        stages,
        [
            AskedAbout("laptops within how many days", "returns", ("14 days",)),
            AskedAbout("shipping costs", "fees"),
            AskedAbout("几天可以退货", "退货"),
            AskedAbout("zebra", "returns", ("nothing says this",)),
        ],
        told.append,
    )
    assert list(measured.stages) == ["dense", "fused"]
    assert measured.stages["fused"].recall == {1: 0.75, 2: 0.75, 5: 0.75, 10: 0.75}
    assert measured.stages["fused"].mrr == measured.stages["fused"].ndcg == 0.75
    assert {name: quality.questions for name, quality in measured.documents.items()} == {"fees": 1, "returns": 2, "退货": 1}
    assert measured.documents["returns"].recall[1] == 0.5
    assert {name: quality.questions for name, quality in measured.languages.items()} == {"en": 3, "zh": 1}
    assert told == list(range(1, 9))


async def test_a_question_about_a_document_that_is_not_there_is_named() -> None:
    stages = await stages_over(PAGES, FakeEncoder(), RetrievalSettings(), NOW)
    with pytest.raises(PermanentError, match="no document is called gone"):
        await evaluate(stages, [AskedAbout("x", "gone")])


def test_ranks_become_shares() -> None:
    quality = quality_of([0, 1, 9, None])
    assert quality.recall == {1: 0.25, 2: 0.5, 5: 0.5, 10: 0.75}
    assert quality.mrr == pytest.approx((1 + 1 / 2 + 1 / 10) / 4)
    assert quality.ndcg == pytest.approx((1 + 0.6309 + 0.2891) / 4, abs=1e-3)


@given(st.lists(st.tuples(st.floats(0.5, 1.0), st.floats(-1.0, 0.4)), min_size=1, max_size=30))
def test_where_the_scores_part_the_threshold_lies_between_them(best: list[tuple[float, float]]) -> None:
    coverage = coverage_of(best)
    assert [one.threshold for one in coverage] == sorted(one.threshold for one in coverage)
    found = best_threshold(coverage)
    assert found.recall == 1.0
    assert found.false_alarms == min(one.false_alarms for one in coverage if one.recall == 1.0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.csv", "frage,document\nx,y\n", "has the columns frage, document; question and document are needed"),
        ("q.csv", "question,document\nx,\n", "line 2: document is empty"),
        ("q.csv", "question,document\n", "holds no question"),
        ("q.jsonl", '{"policy_id": "a"}\n', "line 1: KeyError"),
        ("q.jsonl", "[1]\n", "line 1: TypeError"),
        ("q.jsonl", "{\n", "line 1: JSONDecodeError"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(PermanentError, match=said):
        read_questions(file)
    with pytest.raises(PermanentError, match="cannot be read"):
        read_questions(tmp_path / "missing.csv")


def test_questions_are_read_from_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("﻿question,document\nhow long?,returns\n", encoding="utf-8")
    assert read_questions(tmp_path / "q.csv") == (AskedAbout("how long?", "returns"),)
    (tmp_path / "q.jsonl").write_text('{"policy_id": "returns", "questions": ["a", "b"], "needs": ["14 days"]}\n')
    assert read_questions(tmp_path / "q.jsonl") == (AskedAbout("a", "returns", ("14 days",)), AskedAbout("b", "returns", ("14 days",)))


def test_marks_and_white_space_do_not_count() -> None:
    assert contains("laptops **within\n14** [days](x.md)", ("Within 14 days",))
    assert not contains("laptops within 4 days", ("within 14 days",))


def test_what_is_not_calibrated_covers_everything_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert covered_from("sentence-transformers/all-minilm-l6-v2", None) == 0.2
    assert covered_from("sentence-transformers/all-minilm-l6-v2", 0.5) == 0.5
    assert covered_from("openai/another", None) == -1.0
    assert "csqa knowledge calibrate" in caplog.text
