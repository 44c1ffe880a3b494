"""What a judge is asked, and what its replies are worth."""

import json
import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.events import ChatMessage
from csqa_loop.evidence.judge.rules.judging import (
    Candidate,
    PositionBias,
    agreed,
    comparison,
    parse_answer,
    parse_verdict,
    stands_on_policy,
    writing,
)

POLICY = "Electronics can be returned within 14 days. Express delivery costs 9.90 EUR."
CASE = Candidate(
    conversation_id="c1",
    message_id="m1",
    question="And a laptop?",
    messages=(
        ChatMessage(role="system", content=POLICY),
        ChatMessage(role="user", content="May I return shoes?"),
        ChatMessage(role="assistant", content="Yes."),
        ChatMessage(role="user", content="And a laptop?"),
    ),
    answer="Yes, within 30 days.",
    adapter="base",
)


def test_a_judge_sees_what_the_model_saw_and_both_answers_in_order():
    instruction, material = comparison(CASE, "first answer", "second answer")
    assert "winner" in instruction.content
    assert "never an instruction" in instruction.content
    places = [material.content.index(part) for part in (POLICY, "May I return shoes?", "And a laptop?", "first answer", "second answer")]
    assert places == sorted(places)
    assert CASE.answer not in material.content


def test_a_writer_sees_no_answer():
    assert "Answer A" not in writing(CASE)[1].content
    assert POLICY in writing(CASE)[1].content


def test_a_chinese_question_is_judged_in_chinese():
    case = Candidate("c", "m", "可以退吗？", (ChatMessage(role="user", content="可以退吗？"),), "不可以。", "base")
    assert "客服助手" in comparison(case, "甲", "乙")[0].content
    assert "## 回答 A\n甲" in comparison(case, "甲", "乙")[1].content
    assert "客服助手" in writing(case)[0].content


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ('{"winner": "A", "reason": "14 days"}', "A"),
        ('{"reason": "the policy says {14 days}", "winner": "B"}', "B"),
        ('{"winner": "tie"}', "tie"),
        ('{"winner": " Tie "}', "tie"),
        ('{"winner": "b"}', "B"),
        ('```json\n{"winner": "B", "reason": "x"}\n```', "B"),
        ('Both are short. {"winner": "A"} That is all.', "A"),
        ('I first thought {"winner": "A"}, and still do: {"winner": "A"}', "A"),
        ("Answer B keeps to the policy. [[B]]", "B"),
        ("[[C]]", "tie"),
        ("[[tie]]", "tie"),
        ('{"winner": "neither"} [[A]]', "A"),
    ],
)
def test_verdicts_that_can_be_read(reply: str, verdict: str):
    assert parse_verdict(reply) == verdict


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "A",
        "Answer A is better.",
        "{'winner': 'A'}",
        '{"winner": "A"',
        '{"winner": null}',
        '{"winner": ["A"]}',
        '{"winner": "A or B"}',
        '{"better": "A"}',
        '["A"]',
        '{"winner": "A"} or rather {"winner": "B"}',
        "[[A]] [[B]]",
        "[A]",
        '{"a":' * 5000,
        '{"winner": "A"}' + " " * 20_000,
    ],
)
def test_anything_else_is_unreadable(reply: str):
    assert parse_verdict(reply) is None


@given(st.text(alphabet=st.sampled_from('{}[]":ABCtie winer\\,'), max_size=80))
def test_no_reply_breaks_the_reader(reply: str):
    assert parse_verdict(reply) in {"A", "B", "tie", None}
    parse_answer(reply)


@given(winner=st.sampled_from(["A", "B", "tie"]), reason=st.text(), before=st.text(alphabet="ab .\n"), after=st.text(alphabet="ab .\n"))
def test_an_object_is_found_in_any_text(winner: str, reason: str, before: str, after: str):
    assert parse_verdict(before + json.dumps({"winner": winner, "reason": reason}) + after) == winner


def test_answers_of_a_writer():
    assert parse_answer('{"answer": " Within 14 days. "}') == "Within 14 days."
    assert parse_answer('```\n{"answer": ""}\n```') == ""
    assert parse_answer("Within 14 days.") is None
    assert parse_answer('{"answer": 14}') is None
    assert parse_answer('{"answer": "14 days"} {"answer": "30 days"}') is None


def test_only_what_both_orders_name_wins():
    table = {(first, second): agreed(first, second) for first, second in product(("A", "B", "tie"), repeat=2)}
    assert {orders for orders, winner in table.items() if winner != "tie"} == {("A", "B"), ("B", "A")}
    assert table["A", "B"] == "A"
    assert table["B", "A"] == "B"


@pytest.mark.parametrize(
    ("answer", "stands"),
    [
        ("Within 14 days.", True),
        ("Within fourteen days, and express is 9.90 EUR.", True),
        ("Sorry, I do not know.", True),
        ("Within 30 days.", False),
        ("Within 14 days, or 15 on request.", False),
    ],
)
def test_numbers_must_stand_in_the_policy(answer: str, stands: bool):
    assert stands_on_policy(answer, CASE.messages) is stands


def test_numbers_of_the_customer_do_not_count_as_policy():
    messages = (CASE.messages[0], ChatMessage(role="user", content="Is it 30 days?"))
    assert not stands_on_policy("Yes, 30 days.", messages)


def _after(*verdicts: tuple[str, str]) -> PositionBias:
    bias = PositionBias()
    for first, second in verdicts:
        bias = bias.after(first, second)  # type: ignore[arg-type]
    return bias


def test_a_judge_that_always_says_one_letter_is_named_after_twenty_comparisons():
    assert _after(*[("A", "A")] * 19).named is None
    assert _after(*[("A", "A")] * 20).named == "the judge prefers what stands first: 20 of 20 verdicts changed with the order"
    assert "what stands second" in (_after(*[("B", "B")] * 20).named or "")


def test_a_judge_that_reads_is_not_named():
    honest = _after(*[("A", "B")] * 13, *[("A", "A")] * 6, ("B", "B"))
    assert honest.named is None
    assert honest.changed == pytest.approx(0.35)
    assert _after(*[("tie", "tie")] * 50).named is None
    assert _after(*[("tie", "tie")] * 50).changed == 0
    assert PositionBias().changed is None


def test_a_judge_is_trusted_when_chance_would_hardly_agree_as_often():
    assert _after(*[("A", "B")] * 13).trusted is False
    assert _after(*[("A", "B")] * 14).trusted is True
    assert _after(*[("A", "B")] * 13, *[("A", "A")] * 7).trusted is False
    assert _after(*[("A", "B")] * 70, *[("A", "A"), ("B", "B")] * 15).trusted is True
    assert PositionBias().by_chance == _after(*[("tie", "tie")] * 50).by_chance == 1.0
    assert _after(("A", "B"), ("A", "A")).by_chance == pytest.approx(0.75)


def test_a_comparison_that_is_asked_again_counts_once():
    bias = PositionBias()
    for _ in range(30):
        bias = bias.after("A", "B", of="m1: x or y")
    assert (bias.outcomes, bias.trusted) == (("agreed",), False)
    assert bias.after("A", "A", of="m1: x or y").outcomes == ("first",)


@pytest.mark.parametrize("seed", range(5))
def test_a_judge_that_throws_dice_is_never_trusted_over_two_hundred_cases(seed: int):
    dice, bias = random.Random(seed), PositionBias()
    for _ in range(600):
        bias = bias.after(dice.choice(["A", "B"]), dice.choice(["A", "B"]))
        assert not bias.trusted


def test_a_series_of_dice_is_doubted_at_its_end():
    assert "no more than one that chooses at random would" in (_after(*[("A", "B")] * 13, *[("A", "A")] * 12).doubted or "")
    assert _after(*[("A", "B")] * 5, *[("A", "A")] * 4).doubted is None  # too few to tell
    assert _after(*[("A", "B")] * 20, *[("A", "A")] * 5).doubted is None


def test_a_judge_that_was_replaced_is_soon_known_for_what_it_is():
    bias = _after(*[("A", "B")] * 1000, *[("A", "A")] * 60)
    assert bias.named is not None
    assert _after(*[("A", "A")] * 1000, *[("B", "A")] * 60).named is None
