"""A judge on the answers of champion and candidate to held-out questions, in both orders."""

import asyncio
from dataclasses import dataclass
from functools import partial

from csqa_loop.errors import CsqaError
from csqa_loop.events import ChatMessage, GateCheck
from csqa_loop.evidence.judge.judge import Judge
from csqa_loop.evidence.judge.rules.judging import Candidate, PositionBias, Preferred, agreed, parse_verdict
from csqa_loop.evidence.judge.rules.prompts import JudgePrompt
from csqa_loop.gate.evaluate import Compared, Findings, patiently
from csqa_loop.gate.rules.checks import win_check
from csqa_loop.text.normal import normalised
from csqa_loop.training.run.rows import PairRow

_MOST = 100
"""Questions that are judged, in the file's order: each costs two requests."""
_REPLY_TOKENS = 512
_OURS = JudgePrompt()
_NAME = "judged better"


@dataclass(frozen=True)
class _Judged:
    """Verdicts on (champion, candidate) and on (candidate, champion)."""

    first: Preferred
    second: Preferred


async def judged_check(judge: Judge, findings: Findings, *, at_once: int, prompt: JudgePrompt = _OURS) -> GateCheck:
    """How often the judge prefers the candidate, over different held-out questions.

    A judge that does not answer, that goes by place or that chooses at random, decides nothing: the check passes and says why.
    """
    cases: dict[str, tuple[PairRow, Compared]] = {}
    for pair, answers in zip(findings.holdout, findings.holdout_answers, strict=True):
        cases.setdefault(normalised(pair.question), (pair, answers))
    limit = asyncio.Semaphore(at_once)

    async def limited(pair: PairRow, answers: Compared) -> _Judged:
        async with limit:
            return await _judged(judge, prompt, pair, answers)

    problem: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(limited(*case)) for case in list(cases.values())[:_MOST]]
    except* CsqaError as errors:
        problem = errors.exceptions[0]
    if problem is not None:
        return GateCheck(name=_NAME, passed=True, detail=f"not judged: {problem}")
    bias = PositionBias()
    for task in tasks:
        bias = bias.after(task.result().first, task.result().second)
    if bias.doubted:
        return GateCheck(name=_NAME, passed=True, detail=f"not judged: {bias.doubted}")
    return win_check(
        _NAME, [agreed(task.result().first, task.result().second) for task in tasks], f"{judge.model} (prompt {prompt.version})"
    )


async def _judged(judge: Judge, prompt: JudgePrompt, pair: PairRow, answers: Compared) -> _Judged:
    if normalised(answers.champion) == normalised(answers.candidate):
        return _Judged("tie", "tie")
    case = Candidate(
        conversation_id="", message_id=pair.message_id, question=pair.question, messages=pair.prompt, answer=answers.champion, adapter=""
    )
    first, second = (
        prompt.comparison(case, *answers) for answers in ((answers.champion, answers.candidate), (answers.candidate, answers.champion))
    )
    verdicts = [parse_verdict(await patiently(partial(_ask, judge, request))) for request in (first, second)]
    # A reply that names no winner prefers neither.
    return _Judged(verdicts[0] or "tie", verdicts[1] or "tie")


async def _ask(judge: Judge, messages: tuple[ChatMessage, ...]) -> str:
    return await judge.complete(messages, max_tokens=_REPLY_TOKENS, temperature=0.0)
