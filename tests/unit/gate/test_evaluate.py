"""The gate through a model server."""

import json

import pytest

from csqa_loop.errors import TransientError
from csqa_loop.events import ChatMessage
from csqa_loop.evidence.rules.grading import Probe
from csqa_loop.gate.evaluate import AskedQuestion, evaluate, wait_until_resident
from csqa_loop.gate.rules import checks as gate
from csqa_loop.settings import GateSettings
from csqa_loop.training.run.rows import PairRow
from tests import run_directories
from tests.fakes.model_server import FakeModelServer

CANDIDATE = "a-" + "1" * 16
REPLICA = "http://fake-vllm"


def _pairs(count: int) -> list[PairRow]:
    made = [run_directories.pair(number) for number in range(count)]
    return [
        PairRow(pair_id=p.pair_id, question=p.question, prompt=json.loads(p.prompt), chosen=p.chosen, rejected=p.rejected) for p in made
    ]


def _questions(count: int, *, zero_tolerance: bool = False) -> list[AskedQuestion]:
    probe = Probe(id="q", policy="returns.md", ask=("How long?",), expect=("14 days",), zero_tolerance=zero_tolerance)
    return [AskedQuestion(probe, (ChatMessage(role="user", content=f"How long? {n}"),)) for n in range(count)]


def _server(candidate_says: str) -> FakeModelServer:
    server = FakeModelServer(answer=lambda adapter, _: candidate_says if adapter == CANDIDATE else "You have 14 days to return it.")
    server.held[REPLICA].add(CANDIDATE)
    return server


async def _checks(server: FakeModelServer, *, enabled: bool = True) -> dict[str, bool]:
    settings = GateSettings(enabled=enabled)
    found = await evaluate(
        server, champion="base", candidate=CANDIDATE, holdout=_pairs(6), questions=_questions(6), settings=settings, max_tokens=64
    )
    return {check.name: check.passed for check in found.checks}


async def test_a_candidate_that_answers_alike_passes() -> None:
    checks = await _checks(_server("You have 14 days to return it."))
    assert set(checks) == {
        "preference accuracy",
        "preference margin",
        "perplexity of better answers",
        "regression questions",
        "zero-tolerance questions",
        "regression categories",
        "regression macro F1",
        "answers not empty",
        "answers without repetition",
        "answers in the question's language",
        "answers without refusal",
        "answer length",
        "superiority",
    }
    assert all(checks.values())


async def test_a_candidate_that_forgot_fails_the_regression_questions_only() -> None:
    checks = await _checks(_server("You have 30 days to return it."))
    assert [name for name, passed in checks.items() if not passed] == ["regression questions"]


async def test_a_zero_tolerance_question_must_not_be_lost() -> None:
    server = _server("You have 30 days to return it.")
    found = await evaluate(
        server,
        champion="base",
        candidate=CANDIDATE,
        holdout=(),
        questions=_questions(1, zero_tolerance=True),
        settings=GateSettings(),
        max_tokens=64,
    )
    assert [check.name for check in found.checks if not check.passed] == ["zero-tolerance questions"]


async def test_a_gate_that_requires_superiority_refuses_what_is_only_as_good() -> None:
    questions = [
        AskedQuestion(Probe(id=f"q{n}", policy="returns.md", ask=("How long?",), expect=("14 days",)), _questions(1)[0].messages)
        for n in range(20)
    ]
    settings = GateSettings(require_superiority=True)
    same = await evaluate(
        _server("You have 14 days to return it."),
        champion="base",
        candidate=CANDIDATE,
        holdout=(),
        questions=questions,
        settings=settings,
        max_tokens=64,
    )
    assert [check.name for check in same.checks if not check.passed] == ["superiority"]
    better = FakeModelServer(answer=lambda adapter, _: "You have 14 days to return it." if adapter == CANDIDATE else "You have 30 days.")
    better.held[REPLICA].add(CANDIDATE)
    found = await evaluate(better, champion="base", candidate=CANDIDATE, holdout=(), questions=questions, settings=settings, max_tokens=64)
    assert gate.verdict(found.checks)
    assert found.checks[-1].detail == "better beyond chance in regression questions; required by gate.require_superiority"


async def test_what_the_checks_are_about_comes_along_in_order() -> None:
    server = _server("You have 30 days to return it.")
    found = await evaluate(
        server, champion="base", candidate=CANDIDATE, holdout=_pairs(3), questions=_questions(2), settings=GateSettings(), max_tokens=64
    )
    assert [graded.lost for graded in found.graded] == [True, True]
    assert [said.candidate for said in found.regression_answers] == ["You have 30 days to return it."] * 2
    assert [pair.pair_id for pair in found.holdout] == ["p-0", "p-1", "p-2"]
    assert len(found.holdout_answers) == len(found.champion_scores) == len(found.candidate_scores) == 3
    assert found.champion_scores[0].tokens == len(found.holdout[0].chosen.split())


async def test_a_server_that_dies_half_way_ends_the_evaluation_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.gate.evaluate._TRIES", 1)
    server = _server("You have 14 days to return it.")

    def dies(adapter: str, _: object) -> str:
        server.down = len(server.asked) > 3
        return "You have 14 days to return it."

    server.answer = dies
    with pytest.raises(TransientError, match="down"):
        await evaluate(
            server, champion="base", candidate=CANDIDATE, holdout=_pairs(6), questions=_questions(6), settings=GateSettings(), max_tokens=64
        )


async def test_a_silent_candidate_fails() -> None:
    checks = await _checks(_server(""))
    assert not checks["answers not empty"]


async def test_a_switched_off_gate_asks_nothing() -> None:
    server = _server("anything")
    assert await _checks(server, enabled=False) == {gate.gate_off().name: True}
    assert server.asked == []


async def test_another_adapter_must_not_answer_for_the_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csqa_loop.gate.evaluate._TRIES", 1)
    server = _server("You have 14 days to return it.")
    server.held[REPLICA].discard(CANDIDATE)
    with pytest.raises(TransientError):
        await evaluate(
            server, champion="base", candidate=CANDIDATE, holdout=(), questions=_questions(1), settings=GateSettings(), max_tokens=64
        )


async def test_waiting_for_residency_is_bounded_and_names_what_is_missing() -> None:
    server = _server("")
    await wait_until_resident(server, ("base", CANDIDATE), [REPLICA], 0.0)
    with pytest.raises(TransientError, match=f"{REPLICA} lacks a-2222"):
        await wait_until_resident(server, ("a-" + "2" * 16,), [REPLICA], 0.0)
    with pytest.raises(TransientError, match="http://other does not answer"):
        await wait_until_resident(server, ("base",), [REPLICA, "http://other"], 0.0)


async def test_newest_pairs_are_held_apart_and_must_hold_too() -> None:
    """The candidate keeps 40 old pairs and forgets the better answer of 20 new ones: together they would pass."""
    holdout = [pair.model_copy(update={"split": "time" if number >= 40 else "question"}) for number, pair in enumerate(_pairs(60))]
    newest = {pair.question for pair in holdout[40:]}

    def says(adapter: str, messages) -> str:
        forgot = adapter == CANDIDATE and messages[-1].content in newest
        return "Keep item as long as you like." if forgot else "You may return item within 14 days."

    server = FakeModelServer(answer=says)
    server.held[REPLICA].add(CANDIDATE)
    settings = GateSettings(preference_margin=0.4, preference_margin_nats=5.0)
    found = await evaluate(server, champion="base", candidate=CANDIDATE, holdout=holdout, questions=(), settings=settings, max_tokens=64)
    checks = {check.name: check for check in found.checks}
    assert checks["preference accuracy"].passed
    assert checks["preference accuracy"].n == 40
    assert not checks["preference accuracy, newest pairs"].passed
    assert checks["preference accuracy, newest pairs"].n == 20
    assert checks["preference margin, newest pairs"].n == 20


async def test_answers_may_be_as_long_as_customers_get_them() -> None:
    server = _server("one two three four five six")
    found = await evaluate(
        server, champion="base", candidate=CANDIDATE, holdout=(), questions=_questions(1), settings=GateSettings(), max_tokens=3
    )
    assert {sampling.max_tokens for _, _, sampling in server.asked} == {3}
    assert found.regression_answers[0].candidate.split() == ["one", "two", "three"]
