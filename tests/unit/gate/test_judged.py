"""A judge on held-out answers."""

import asyncio
import json
import random

import pytest

from csqa_loop.evidence.judge.rules.judging import PROMPT_VERSION
from csqa_loop.evidence.judge.rules.prompts import parse_judge_prompt
from csqa_loop.gate.evaluate import Compared, Findings
from csqa_loop.gate.judged import judged_check
from csqa_loop.training.run.rows import PairRow
from tests import run_directories
from tests.fakes.judge import FakeJudge, by_merit

SHORT, LONG = "14 days.", "You have 14 days to return it."


def findings(count: int, champion: str, candidate: str, *, questions: int | None = None) -> Findings:
    made = [run_directories.pair(number % (questions or count)) for number in range(count)]
    pairs = tuple(
        PairRow(pair_id=f"p-{number}", question=one.question, prompt=json.loads(one.prompt), chosen=one.chosen, rejected=one.rejected)
        for number, one in enumerate(made)
    )
    return Findings((), holdout=pairs, holdout_answers=tuple(Compared(pair.question, champion, candidate) for pair in pairs))


async def test_a_candidate_that_the_judge_prefers_has_bounds_above_zero() -> None:
    check = await judged_check(FakeJudge(by_merit(len)), findings(25, SHORT, LONG), at_once=2)
    assert (check.passed, check.champion, check.candidate, check.n) == (True, 0.0, 1.0, 25)
    assert check.lower == 1.0
    assert f"fake-judge (prompt {PROMPT_VERSION})" in check.detail


async def test_a_candidate_that_the_judge_likes_less_beyond_chance_fails() -> None:
    assert not (await judged_check(FakeJudge(by_merit(len)), findings(25, LONG, SHORT), at_once=2)).passed


async def test_too_few_questions_fail_nothing() -> None:
    check = await judged_check(FakeJudge(by_merit(len)), findings(40, LONG, SHORT, questions=4), at_once=2)
    assert check.passed
    assert check.n == 4
    assert "too few to decide" in check.detail


async def test_equal_answers_are_ties_that_nobody_is_asked_about() -> None:
    judge = FakeJudge(by_merit(len))
    check = await judged_check(judge, findings(25, SHORT, "14 days"), at_once=2)
    assert judge.asked == []
    assert "25 of 25 are ties" in check.detail
    assert check.passed


async def test_a_judge_that_goes_by_place_decides_nothing() -> None:
    judge = FakeJudge(lambda _: '{"winner": "A"}')
    check = await judged_check(judge, findings(25, LONG, SHORT), at_once=2)
    assert check.passed
    assert check.n == 0
    assert "prefers what stands first" in check.detail


async def test_a_judge_that_throws_dice_decides_nothing() -> None:
    dice = random.Random(1)
    judge = FakeJudge(lambda _: json.dumps({"winner": dice.choice("AB")}))
    check = await judged_check(judge, findings(60, LONG, SHORT), at_once=2)
    assert (check.passed, check.n) == (True, 0)
    assert "one that chooses at random" in check.detail


class _Remote(FakeJudge):
    async def complete(self, messages, *, max_tokens, temperature) -> str:
        await asyncio.sleep(0)
        return await super().complete(messages, max_tokens=max_tokens, temperature=temperature)


@pytest.mark.parametrize("mode", ["down", "refuses"])
async def test_a_judge_that_does_not_answer_decides_nothing_and_is_not_asked_again(mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.gate.evaluate._TRIES", 1)
    judge = _Remote(by_merit(len), mode=mode)
    check = await judged_check(judge, findings(25, LONG, SHORT), at_once=2)
    assert check.passed
    assert "http://fake-judge" in check.detail
    assert len(judge.asked) <= 2


async def test_a_reply_without_a_winner_prefers_neither() -> None:
    check = await judged_check(FakeJudge(lambda _: "Both are fine."), findings(25, LONG, SHORT), at_once=2)
    assert (check.champion, check.candidate) == (0.0, 0.0)
    assert check.passed


async def test_no_more_than_so_many_requests_are_on_their_way_and_no_more_than_a_hundred_questions_are_judged() -> None:
    judge = FakeJudge(by_merit(len))
    check = await judged_check(judge, findings(130, SHORT, LONG), at_once=3)
    assert check.n == 100
    assert len(judge.asked) == 200
    assert judge.most_in_hand <= 3


async def test_without_held_out_pairs_there_is_no_data() -> None:
    assert (await judged_check(FakeJudge(), Findings(()), at_once=2)).detail == "no data"


async def test_a_prompt_of_the_operators_is_asked_and_named() -> None:
    prompt = parse_judge_prompt("Q {question} A {answer_a} B {answer_b}", "f")
    judge = FakeJudge(lambda messages: "[[A]]" if f"A {LONG}" in messages[-1].content else "[[B]]")
    check = await judged_check(judge, findings(25, SHORT, LONG), at_once=2, prompt=prompt)
    assert (check.champion, check.candidate) == (0.0, 1.0)
    assert prompt.version in check.detail
    assert all(len(messages) == 1 for messages in judge.asked)
