"""The offline gate's checks."""

import math

import pytest

from csqa_loop.events import GateCheck
from csqa_loop.gate.rules import checks as gate
from csqa_loop.gate.rules.checks import PairScore

RIGHT, WRONG = PairScore(-1.0, -2.0), PairScore(-2.0, -1.0)


def asked(count: int) -> list[str]:
    return [f"question {number}" for number in range(count)]


def test_equal_scores_are_not_a_preference() -> None:
    assert not PairScore(-1.0, -1.0).correct


def test_preference_accuracy_may_fall_by_the_margin_and_no_further() -> None:
    champion = [RIGHT] * 19
    assert gate.preference_check(champion, [RIGHT] * 18 + [WRONG], 0.10, asked(19)).passed
    refused = gate.preference_check(champion, [RIGHT] * 17 + [WRONG] * 2, 0.10, asked(19))
    assert not refused.passed
    assert (refused.champion, refused.candidate, refused.n) == (1.0, pytest.approx(17 / 19), 19)


def test_newest_pairs_are_told_apart_and_do_not_count_as_better() -> None:
    champion, candidate = [WRONG] * 40, [RIGHT] * 40
    checks = [
        gate.preference_check(champion, candidate, 0.10, asked(40), newest=True),
        gate.margin_check(champion, candidate, 0.10, asked(40), newest=True),
    ]
    assert [check.name for check in checks] == ["preference accuracy, newest pairs", "preference margin, newest pairs"]
    assert {(check.floor, check.lower) for check in checks} == {(1.0, None), (2.0, None)}
    assert "nowhere" not in gate.superiority_check(checks, required=False).detail


def test_a_candidate_that_prefers_better_answers_more_often_has_a_lower_bound_above_zero() -> None:
    champion = [RIGHT] * 20 + [WRONG] * 20
    check = gate.preference_check(champion, [RIGHT] * 38 + [WRONG] * 2, 0.10, asked(40))
    assert check.lower is not None
    assert check.upper is not None
    assert 0 < check.lower < 0.45 < check.upper
    alike = gate.preference_check(champion, champion, 0.10, asked(40))
    assert (alike.lower, alike.upper) == (0.0, 0.0)


def test_pairs_about_one_question_are_no_evidence_of_many() -> None:
    champion, candidate = [WRONG] * 40, [RIGHT] * 40
    check = gate.preference_check(champion, candidate, 0.10, ["How long?", "how long"] * 20)
    assert (check.lower, check.upper) == (None, None)
    assert "too few to decide whether it is better: 1 different questions of 20" in check.detail
    assert check.passed


def test_the_margin_is_in_nats_a_token_and_may_fall_by_so_much() -> None:
    champion = [PairScore(-1.0, -2.0)] * 30
    check = gate.margin_check(champion, [PairScore(-1.0, -1.95)] * 30, 0.10, asked(30))
    assert (check.champion, check.candidate) == (pytest.approx(1.0), pytest.approx(0.95))
    assert (check.lower, check.upper) == (pytest.approx(-0.05), pytest.approx(-0.05))
    assert check.passed
    assert not gate.margin_check(champion, [PairScore(-1.0, -1.8)] * 30, 0.10, asked(30)).passed


def test_a_margin_that_may_have_fallen_by_more_fails() -> None:
    champion = [PairScore(-1.0, -2.0)] * 30
    uneven = [PairScore(-1.0, -2.8 if number % 2 else -1.08) for number in range(30)]
    check = gate.margin_check(champion, uneven, 0.10, asked(30))
    assert check.champion is not None
    assert check.candidate is not None
    assert 0 < check.champion - check.candidate < 0.10
    assert not check.passed


def test_a_margin_over_few_questions_fails_only_by_a_disaster() -> None:
    champion = [PairScore(-1.0, -2.0)] * 4
    fallen = gate.margin_check(champion, [PairScore(-1.0, -1.2)] * 4, 0.10, asked(4))
    assert fallen.passed
    assert "too few to decide" in fallen.detail
    assert not gate.margin_check(champion, [PairScore(-5.0, -1.0)] * 4, 0.10, asked(4)).passed


def test_an_empty_answer_has_no_margin() -> None:
    empty = PairScore(-1.0, float("-inf"))
    assert gate.margin_check([empty, RIGHT], [empty, RIGHT], 0.1, asked(2)).n == 1
    assert gate.margin_check([empty], [empty], 0.1, asked(1)).detail == "no data"


def test_a_check_without_data_says_so_and_does_not_fail() -> None:
    for check in (
        gate.preference_check([], [], 0.1, []),
        gate.margin_check([], [], 0.1, []),
        gate.perplexity_check([], [], []),
        *gate.sanity_checks([], [], []),
    ):
        assert check.passed
        assert check.detail == "no data"
        assert check.n == 0


def test_silence_circles_and_rambling_fail_by_name() -> None:
    said = ["You have 14 days to return it."] * 10
    circles = ["you have to pay the fee " * 5] * 10
    failed = {
        name: [check.name for check in gate.sanity_checks(said, answers, ["How long?"] * 10) if not check.passed]
        for name, answers in {
            "silent": [""] * 10,
            "circling": circles,
            "refusing": ["I'm sorry, but I can't help you."] * 10,
            "elsewhere": ["您可以在十四天内办理退货，请保留原包装和购物小票。"] * 10,
            "rambling": [" ".join(map(str, range(60)))] * 10,
            "same": said,
        }.items()
    }
    assert "answers not empty" in failed["silent"]
    assert "answers without repetition" in failed["circling"]
    assert failed["refusing"] == ["answers without refusal"]
    assert failed["elsewhere"] == ["answers in the question's language"]
    assert failed["rambling"] == ["answer length"]
    assert failed["same"] == []


def test_repetition_is_found_in_chinese_too() -> None:
    assert gate.repeats("请联系客服请联系客服请联系客服")
    assert not gate.repeats("请在十四天内联系客服办理退货。")


@pytest.mark.parametrize(
    "text",
    [
        "I’m sorry, but I can't help with that.",
        "We are unable to assist.",
        "I do not have that information.",
        "抱歉，我不知道。",
        "我无法回答。",
    ],
)
def test_a_refusal_is_known_in_both_languages(text: str) -> None:
    assert gate.refuses(text)


@pytest.mark.parametrize("text", ["You cannot return groceries.", "We cannot provide refunds after 45 days.", "食品无法退货。", ""])
def test_what_a_policy_denies_is_no_refusal(text: str) -> None:
    assert not gate.refuses(text)


@pytest.mark.parametrize(
    ("question", "answer", "same"),
    [
        ("How long?", "14 days", True),
        ("How long?", "14", True),
        ("How long?", "十四天", False),
        ("多久？", "14 days", False),
        ("多久？", "14 天", True),
    ],
)
def test_an_answer_is_in_the_questions_language(question: str, answer: str, same: bool) -> None:
    assert gate.in_language_of(question, answer) is same


def test_perplexity_is_over_tokens_and_may_double() -> None:
    champion = [PairScore(-1.0, -2.0, tokens=30)] * 19 + [PairScore(-2.0, -2.0, tokens=10)]
    check = gate.perplexity_check(champion, champion, asked(20))
    assert check.champion == pytest.approx(math.exp((19 * 30 + 20) / (19 * 30 + 10)))
    assert check.passed
    doubled = [PairScore(score.chosen - 0.69, -9.0, tokens=score.tokens) for score in champion]
    assert gate.perplexity_check(champion, doubled, asked(20)).passed
    beyond = [PairScore(score.chosen - 0.70, -9.0, tokens=score.tokens) for score in champion]
    assert not gate.perplexity_check(champion, beyond, asked(20)).passed
    few = gate.perplexity_check(champion[:4], beyond[:4], asked(4))
    assert few.passed
    assert "at most 8 times the champion's passes, as the questions are few" in few.detail


def test_even_a_few_questions_show_that_a_model_unlearned_to_speak() -> None:
    champion = [PairScore(-1.0, -2.0, tokens=30)] * 15
    check = gate.perplexity_check(champion, [PairScore(-51.0, -52.0, tokens=30)] * 15, asked(15))
    assert not check.passed
    assert not gate.perplexity_check(champion[:1], [PairScore(-4.0, -9.0, tokens=30)], asked(1)).passed


def test_a_perplexity_that_may_have_more_than_doubled_fails() -> None:
    champion = [PairScore(-1.0, -2.0, tokens=30)] * 24
    uneven = [PairScore(-3.4 if number % 4 == 0 else -1.0, -4.0, tokens=30) for number in range(24)]
    check = gate.perplexity_check(champion, uneven, asked(24))
    assert check.champion is not None
    assert check.candidate is not None
    assert check.candidate < 2 * check.champion
    assert not check.passed
    assert "at 95 % it is at most" in check.detail


def test_an_unlearned_model_has_a_perplexity_that_is_a_number() -> None:
    check = gate.perplexity_check([RIGHT] * 20, [PairScore(-9999.0, -1.0)] * 20, asked(20))
    assert not check.passed
    assert math.isfinite(check.candidate or math.inf)


def test_a_switched_off_gate_passes_and_says_so() -> None:
    assert gate.verdict([gate.gate_off()])
    assert "switched off" in gate.gate_off().detail


def test_one_failed_check_fails_the_gate() -> None:
    good, bad = GateCheck(name="good", passed=True), GateCheck(name="bad", passed=False)
    assert gate.verdict([good])
    assert not gate.verdict([good, bad])


@pytest.mark.parametrize(
    ("lower", "detail", "passes_when_required"),
    [
        ((0.01, -0.1), "better beyond chance in check 0", True),
        ((0.0, -0.1), "nowhere better beyond chance", False),
        ((None, -0.1), "nowhere better beyond chance", False),
        ((None, None), "too few questions to decide anywhere", False),
    ],
)
def test_superiority_is_one_lower_bound_above_zero(lower: tuple[float | None, ...], detail: str, passes_when_required: bool) -> None:
    checks = [GateCheck(name=f"check {number}", passed=True, lower=bound) for number, bound in enumerate(lower)]
    required = gate.superiority_check(checks, required=True)
    assert required.passed is passes_when_required
    assert required.detail.startswith(detail)
    optional = gate.superiority_check(checks, required=False)
    assert optional.passed
    assert "gate.require_superiority is false" in optional.detail


def test_passages_that_share_rare_words_come_first() -> None:
    passages = ["Delivery takes 3 days.", "Returns of boots take 45 days.", "Gift cards are valid for 24 months."]
    assert gate.best_passages("How long can I return boots?", passages, 1) == (passages[1],)
    assert gate.best_passages("礼品卡有效期多久？", ["退货期限为十四天。", "礼品卡有效期为两年。"], 2)[0] == "礼品卡有效期为两年。"
    assert gate.best_passages("nothing in common", passages, 2) == tuple(passages[:2])
