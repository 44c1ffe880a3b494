"""Scenario files: what is refused and how, and when an answer is right."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.demo.scenario import parse_scenario
from csqa_loop.demo.scenario_files import load_scenario, packaged, policy_folder
from csqa_loop.errors import ConfigurationError
from csqa_loop.evidence.rules.grading import Probe, judge, plain
from csqa_loop.knowledge.rules.chunking import chunk_markdown

GOOD: dict[str, Any] = {
    "name": "shop",
    "language": "en",
    "policies": "policies",
    "questions": [
        {
            "id": "a",
            "policy": "r.md",
            "ask": ["How long?"],
            "expect": ["14 days"],
            "forbid": [],
            "correction": "14 days.",
            "holdout": False,
        },
        {"id": "b", "policy": "r.md", "ask": ["How much?"], "expect": ["£5"], "holdout": True},
    ],
    "regression": [{"id": "c", "policy": "r.md", "ask": ["Where?"], "expect": ["here"]}],
}


def _broken(change: Any) -> dict[str, Any]:
    content = copy.deepcopy(GOOD)
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(colour="red"), ["colour", "not a known key", "questions"]),
        (lambda c: c["questions"][1].update(answer="x"), ["questions[1].answer", "(b)", "not a known key", "correction"]),
        (lambda c: c["regression"][0].update(correction="x"), ["regression[0].correction", "not a known key"]),
        (lambda c: c.pop("name"), ["name", "missing", "harbour-shop"]),
        (lambda c: c.update(language="fr"), ["language", "'fr'", "'en' or 'zh'"]),
        (lambda c: c.update(questions=[]), ["questions", "at least 1"]),
        (lambda c: c["questions"][0].update(ask=[]), ["questions[0].ask", "(a)", "at least 1"]),
        (lambda c: c["questions"][0].update(ask=["  "]), ["questions[0].ask[0]", "at least 1 character"]),
        (lambda c: c["questions"][0].update(expect=[]), ["questions[0].expect", "(a)"]),
        (lambda c: c["questions"][0].update(expect="14 days"), ["questions[0].expect", "'14 days'"]),
        (lambda c: c["questions"][0].pop("correction"), ["questions[0]", "(a)", "correction is missing"]),
        (lambda c: c["questions"][1].update(id="a"), ["questions[1].id", "'a'", "unique"]),
        (lambda c: c["regression"][0].update(id="a"), ["regression[0].id", "unique"]),
        (lambda c: c["questions"][0].update(policy="x.md"), ["questions[0].policy", "'x.md'", "policies", "r.md"]),
        (lambda c: c["questions"].pop(0), ["held out"]),
    ],
)
def test_what_is_wrong_is_named(change: Any, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_scenario(_broken(change), where="some/file.yaml", policy_files=frozenset({"r.md"}))
    message = str(caught.value)
    assert message.startswith("some/file.yaml: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_good_file_is_taken_with_its_defaults() -> None:
    scenario = parse_scenario(GOOD, where="f", policy_files=frozenset({"r.md"}))
    assert [question.id for question in scenario.trainable] == ["a"]
    assert [question.id for question in scenario.holdout] == ["b"]
    assert scenario.regression[0].forbid == ()


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_a_file_that_is_no_mapping_is_refused(content: object) -> None:
    with pytest.raises(ConfigurationError, match="a mapping"):
        parse_scenario(content, where="f")


@pytest.mark.parametrize(
    ("answer", "language", "right"),
    [
        ("You have 14 DAYS.", "en", True),
        ("You have 14\n days.", "en", True),
        ("You have １４ days.", "en", True),
        ("You have 14\u00a0days.", "en", True),
        ("You have 14days.", "en", False),
        ("You have 14days.", "zh", True),
        ("You have 14 days, or 30 days.", "en", False),
        ("You have 30 days.", "en", False),
        ("", "en", False),
    ],
)
def test_right_is_every_expect_and_no_forbid(answer: str, language: str, right: bool) -> None:
    question = Probe(id="q", policy="p.md", ask=("?",), expect=("14 days", "14"), forbid=("30 Days",))
    assert judge(answer, question, language) is right


@given(st.text(max_size=30), st.sampled_from(["en", "zh"]))
def test_comparing_twice_changes_nothing(text: str, language: str) -> None:
    once = plain(text, language)
    assert plain(once, language) == once or once != text.casefold()


@pytest.mark.parametrize("name", ["harbour-shop", "harbour-shop-zh"])
def test_the_packaged_scenarios_agree_with_their_policies(name: str) -> None:
    file = packaged(f"{name}/scenario.yaml")
    scenario = load_scenario(file)
    for probe in (*scenario.questions, *scenario.regression):
        text = (policy_folder(file, scenario) / probe.policy).read_text(encoding="utf-8")
        facts = plain(text, scenario.language)
        for expected in probe.expect:
            assert plain(expected, scenario.language) in facts, (probe.id, expected)
    for question in scenario.questions:
        assert judge(question.correction or "", question, scenario.language), question.id
    asked = [text for probe in (*scenario.questions, *scenario.regression) for text in probe.ask]
    assert len(set(asked)) == len(asked)


def test_harbour_shop_is_large_enough_and_holds_out_whole_sections() -> None:
    file = packaged("harbour-shop/scenario.yaml")
    scenario = load_scenario(file)
    policies = sorted(policy_folder(file, scenario).glob("*.md"))
    assert len(policies) >= 12
    assert len(scenario.questions) >= 90
    assert len(scenario.holdout) * 3 >= len(scenario.questions)
    assert sum(len(question.ask) for question in scenario.holdout) >= 60
    assert len(scenario.regression) >= 8
    sections = {section for policy in policies for section in _sections(policy)}
    used: dict[str, set[bool]] = {}
    for question in scenario.questions:
        section = ".".join(question.id.split(".")[:2])
        assert section in sections
        used.setdefault(section, set()).add(question.holdout)
    assert [section for section, kinds in used.items() if len(kinds) > 1] == []


def test_every_fact_of_harbour_shop_stands_in_the_section_that_its_id_names() -> None:
    file = packaged("harbour-shop/scenario.yaml")
    scenario = load_scenario(file)
    sections = {name: text for policy in policy_folder(file, scenario).glob("*.md") for name, text in _sections(policy).items()}
    for question in scenario.questions:
        text = sections[".".join(question.id.split(".")[:2])]
        assert len(text) < 450
        for expected in question.expect:
            # Never a part of a longer number: `5 days` must not be found in `15 days`.
            assert re.search(rf"(?<![\d.,]){re.escape(expected)}(?!\d|[.,]\d)", text), (question.id, expected)
        for forbidden in question.forbid:
            assert forbidden.lower() in text.lower(), (question.id, forbidden)


def _sections(policy: Path) -> dict[str, str]:
    passages = chunk_markdown(policy.read_text(encoding="utf-8"), 700)
    names = [re.sub(r"[^a-z0-9]+", "-", passage.section.split(" > ")[-1].lower()).strip("-") for passage in passages]
    assert len(set(names)) == len(names)  # one chunk a section
    return {f"{policy.stem}.{name}": passage.text for name, passage in zip(names, passages, strict=True)}


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_scenario(tmp_path / "none.yaml")
    file = tmp_path / "scenario.yaml"
    file.write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_scenario(file)
    file.write_text(packaged("harbour-shop/scenario.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is not a folder"):
        load_scenario(file)
    (tmp_path / "policies").mkdir()
    with pytest.raises(ConfigurationError, match=r"'returns\.md', which is not a file"):
        load_scenario(file)
