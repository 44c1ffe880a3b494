"""Regression questions as the gate asks them, and what tells one suite from another."""

from pathlib import Path

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.gate.suite import load_suite, suite_hash
from csqa_loop.settings import RetrievalSettings

POLICY = "# Returns\n\n## Boots\n\nBoots: 45 days.\n\n## Flares\n\nFlares: 21 days.\n\n## Rope\n\nRope: never.\n"
QUESTION = "{id: f, policy: returns.md, ask: ['How long for flares?', 'Flares?'], expect: [21 days]}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "returns.md").write_text(POLICY, encoding="utf-8")
    file = tmp_path / "scenario.yaml"
    file.write_text(f"regression:\n- {QUESTION}\n", encoding="utf-8")
    return file


def test_questions_come_with_their_policys_best_passages(file: Path) -> None:
    questions = load_suite(file, language="en", retrieval=RetrievalSettings()).questions
    assert [asked.messages[-1].content for asked in questions] == ["How long for flares?", "Flares?"]
    assert "Flares: 21 days." in questions[0].messages[0].content


def test_excerpts_are_as_many_and_as_long_as_the_gateways(file: Path) -> None:
    def shown(**retrieval: int) -> str:
        return load_suite(file, language="en", retrieval=RetrievalSettings(**retrieval)).questions[0].messages[0].content

    assert [part in shown(top_k=1) for part in ("Boots", "Flares", "Rope")] == [False, True, False]
    assert [part in shown(top_k=3) for part in ("Boots: 45", "Flares: 21", "Rope: never")] == [True, True, True]
    long = file.parent / "policies" / "returns.md"
    long.write_text("# Flares\n\n" + "\n\n".join(f"Flares of kind {n} may come back within {n} days." for n in range(20)), encoding="utf-8")
    assert len(shown(top_k=1, chunk_characters=100)) < len(shown(top_k=1, chunk_characters=700))


def test_a_question_that_does_not_tell_its_language_is_asked_in_the_gateways(file: Path) -> None:
    file.write_text("language: en\nregression:\n- {id: n, policy: returns.md, ask: ['21?'], expect: ['21']}\n", encoding="utf-8")
    suite = load_suite(file, language="zh", retrieval=RetrievalSettings())
    assert suite.questions[0].messages[0].content.startswith("政策")
    assert suite.questions[0].language == "en"


def test_the_hash_changes_with_the_file_and_with_the_policies_it_names_and_with_nothing_else(file: Path) -> None:
    before = suite_hash(str(file))
    assert before == load_suite(file, language="zh", retrieval=RetrievalSettings(top_k=1)).content_hash
    (file.parent / "policies" / "other.md").write_text("# Other", encoding="utf-8")
    assert suite_hash(str(file)) == before
    policy = file.parent / "policies" / "returns.md"
    policy.write_text(POLICY.replace("21", "22"), encoding="utf-8")
    edited = suite_hash(str(file))
    policy.write_text(POLICY, encoding="utf-8")
    file.write_text(file.read_text(encoding="utf-8") + "# a word\n", encoding="utf-8")
    assert len({before, edited, suite_hash(str(file))}) == 3


def test_a_file_that_is_not_here_has_no_hash(tmp_path: Path) -> None:
    assert suite_hash("") == ""
    assert suite_hash(str(tmp_path / "nowhere.yaml")) == ""
    with pytest.raises(PermanentError, match="nowhere"):
        load_suite(tmp_path / "nowhere.yaml", language="en", retrieval=RetrievalSettings())
