"""A judge's prompt from a file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.errors import ConfigurationError
from csqa_loop.events import ChatMessage
from csqa_loop.evidence.judge.rules.judging import PROMPT_VERSION, Candidate, comparison, parse_verdict
from csqa_loop.evidence.judge.rules.prompts import JudgePrompt, parse_judge_prompt

TEMPLATE = "[User Question]\n{question}\n\n[Assistant A]\n{answer_a}\n\n[Assistant B]\n{answer_b}"
PAIR = {
    "name": "pair-v2", "type": "pairwise", "system_prompt": 'Output "[[A]]", "[[B]]" or "[[C]]" for a tie.', "prompt_template": TEMPLATE,
    "category": "general", "output_format": "[[A]]",
}  # fmt: skip
MATHS = PAIR | {"name": "pair-math-v1", "prompt_template": TEMPLATE + "\n{ref_answer_1}"}
TURNS = PAIR | {"name": "pair-v2-multi-turn", "prompt_template": "{question_1} {answer_a_1} {answer_b_1}"}
SINGLE = PAIR | {"name": "single-v1", "prompt_template": "{question} {answer}", "output_format": "[[rating]]"}


def lines(*prompts: dict) -> str:
    return "\n".join(json.dumps(prompt) for prompt in prompts) + "\n"


def case(question: str = "How long?") -> Candidate:
    messages = (ChatMessage(role="system", content="Policy: 14 days."), ChatMessage(role="user", content=question))
    return Candidate("c", "m", question, messages, "bad", "base")


def test_mt_benchs_file_is_read_as_it_is() -> None:
    prompt = parse_judge_prompt(lines(PAIR, TURNS, MATHS, SINGLE), "judge_prompts.jsonl")
    system, asked = prompt.comparison(case(), "14 days", "30 days")
    assert system.content == PAIR["system_prompt"]
    assert asked.content == "[User Question]\nHow long?\n\n[Assistant A]\n14 days\n\n[Assistant B]\n30 days"


@pytest.mark.parametrize("text", [lines(PAIR), json.dumps(PAIR, indent=2), json.dumps([TURNS, PAIR], indent=2)])
def test_one_object_a_list_and_lines_are_the_same_prompt(text: str) -> None:
    assert parse_judge_prompt(text, "f").template == TEMPLATE


def test_a_plain_template_may_quote_the_policy_and_show_json() -> None:
    text = '{question} by {policy}: {answer_a} / {answer_b}\nReply {"winner": "A"}, {} or {0}; 50 % {{sure}} { question }.'
    with pytest.raises(ConfigurationError, match=r"nothing is known to fill \{sure\}"):
        parse_judge_prompt(text, "f")
    prompt = parse_judge_prompt(text.replace("{{sure}}", "{{ sure }}"), "f")
    (asked,) = prompt.comparison(case(), "x", "y")
    assert asked.content == 'How long? by Policy: 14 days.: x / y\nReply {"winner": "A"}, {} or {0}; 50 % {{ sure }} { question }.'


@given(st.text(max_size=50), st.text(max_size=50), st.text(max_size=50))
def test_what_customers_and_models_write_is_never_a_placeholder(question: str, a: str, b: str) -> None:
    prompt = parse_judge_prompt("Q{question}A{answer_a}B{answer_b}", "f")
    for extra in ("", "{answer_b}", "{question.__class__}", "{0}{", "}}", "\\g<0>"):
        (asked,) = prompt.comparison(case(question + extra), a + extra, b)
        assert asked.content == f"Q{question}{extra}A{a}{extra}B{b}"


def test_a_conversation_is_shown_whole() -> None:
    turns = [("user", "How long for boots?"), ("assistant", "14 days."), ("user", "And {answer_a}?")]
    told = Candidate("c", "m", "And {answer_a}?", tuple(ChatMessage(role=role, content=text) for role, text in turns), "bad", "base")
    (asked,) = parse_judge_prompt("{question}|{answer_a}|{answer_b}", "f").comparison(told, "x", "y")
    assert asked.content == "Customer: How long for boots?\nAssistant: 14 days.\nCustomer: And {answer_a}?|x|y"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Which is better?", r"\{question\}, \{answer_a\}, \{answer_b\} are missing in the template"),
        (TEMPLATE.replace("{answer_b}", "{answer_B}"), r"\{answer_b\} is missing"),
        (lines(PAIR | {"prompt_template": "{question}"}), r"\{answer_a\}, \{answer_b\} are missing"),
        (lines(MATHS), r"nothing is known to fill \{ref_answer_1\} with; known are"),
        (lines(PAIR | {"output_format": "[[rating]]"}), r"output_format is '\[\[rating\]\]'; it must be"),
        (lines(TURNS, SINGLE), r"2 judge prompts, of which none compares two answers \(pair-v2-multi-turn, single-v1\)"),
        (lines(PAIR, PAIR | {"name": "mine"}), r"several compare two answers \(pair-v2, mine\)"),
        (json.dumps(PAIR) + "\nno json", r"line 2: no JSON"),
        ("[1, 2]", "not an object with prompt_template"),
        ("[]", "not an object with prompt_template"),
        (json.dumps({"system_prompt": "s"}), "prompt_template is None"),
        ("", "are missing in the template"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as error:
        parse_judge_prompt(text, "my-prompts.jsonl")
    assert str(error.value).startswith("my-prompts.jsonl")


def test_the_version_is_ours_and_the_files_hash() -> None:
    first, second = parse_judge_prompt(lines(PAIR), "f").version, parse_judge_prompt(lines(PAIR | {"system_prompt": "s"}), "f").version
    assert first.startswith(f"{PROMPT_VERSION}+")
    assert len({first, second, JudgePrompt().version}) == 3
    assert parse_judge_prompt(lines(PAIR), "elsewhere").version == first


def test_without_a_file_it_is_asked_in_our_words() -> None:
    assert JudgePrompt().comparison(case(), "x", "y") == comparison(case(), "x", "y")


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("A is vaguer. [[B]]", "B"),
        ("[[C]]", "tie"),
        ("[[a]]", "A"),
        ('Here: {"winner": "B", "reason": "x"}', "B"),
        ("[[A]] or [[B]]?", None),
        ("A", None),
    ],
)
def test_marks_and_json_are_read_alike(reply: str, verdict: str | None) -> None:
    assert parse_verdict(reply) == verdict
