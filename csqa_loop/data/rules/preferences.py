"""Which of two or more answers is the better one, and what both were given to."""

from collections.abc import Mapping, Sequence
from typing import Any

from csqa_loop.data.rules.cells import is_blank, text_in
from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.data.rules.turns import DIVERGED, REASONING, Notes, Turn, is_transcript, spoken, through_last_answer, transcript, turns_in
from csqa_loop.data.rules.worth import number_in

SEVERAL = "each better answer is paired with each worse one"
_TEXTS = ("response", "completion", "output", "answer", "generation", "content", "text", "value")
_SCORES = ("overall_score", "score", "rating", "reward", "fine-grained_score", "fine_grained_score")


def compared(candidates: Sequence[Any], scores: Any) -> tuple[Any, Any]:
    """The best of several answers and all that are rated lower, each a list where there are more than one; None where there is one answer alone.

    Raises:
        RowRefusedError: nothing says which is better, or nothing is.
    """
    answers = [_text_of(candidate) for candidate in candidates]
    if len(answers) == 1:
        return answers[0], None
    if not isinstance(scores, list) or len(scores) != len(answers):
        scores = [_score_of(candidate) for candidate in candidates]
    rated = [
        (number, answer)
        for number, answer in zip(map(number_in, scores), answers, strict=True)
        if number is not None and not is_blank(answer)
    ]
    if len(rated) < 2:
        raise RowRefusedError("label", f"it has {len(answers)} answers and {len(rated)} scores; scores must say which one is better")
    highest = max(number for number, _ in rated)
    best, worse = ([answer for number, answer in rated if (number == highest) is wanted] for wanted in (True, False))
    if not worse:
        raise RowRefusedError("neither", f"its {len(rated)} answers are all rated {highest:g}; none of them is better")
    return tuple(answers[0] if len(answers) == 1 else answers for answers in (best, worse))  # type: ignore[return-value]  # two of them


def several(value: Any, scores: Any, where: str) -> list[tuple[Any, Any]]:
    """Each answer of a cell with its score: of most cells the one that it holds, of a list of answers all.

    Raises:
        RowRefusedError: there are not as many scores as answers.
    """
    if not isinstance(value, list) or len(value) < 2 or isinstance(value[0], Turn) or any(map(_is_turn, value)):
        return [(value, scores)]
    given = scores if isinstance(scores, list) else [scores] * len(value)
    if len(given) != len(value):
        raise RowRefusedError("label", f"{where} has {len(value)} answers and {len(given)} scores; each answer needs its own")
    return [(_text_of(one), score) for one, score in zip(value, given, strict=True)]


def check_scores(chosen: Any, rejected: Any, *, ranks: bool = False) -> None:
    """Refuse a pair whose scores, or ranks, do not say that the chosen answer is better.

    Raises:
        RowRefusedError: they say that it is as good, or worse.
    """
    better, worse = number_in(chosen), number_in(rejected)
    if better is not None and worse is not None and (better >= worse if ranks else better <= worse):
        raise RowRefusedError(
            "neither", f"its {'ranks' if ranks else 'scores'} say that chosen ({better:g}) is no better than rejected ({worse:g})"
        )


def whole_conversation(value: Any, where: str, notes: Notes) -> list[Turn]:
    """The turns of a cell that holds the prompt too; empty where it holds an answer alone."""
    if isinstance(value, str):
        turns = transcript(value)
        if not turns and is_transcript(value):
            raise RowRefusedError("empty", f"{where} is a conversation in which a turn says nothing; each must say something")
    elif isinstance(value, list) and value:
        turns = value if isinstance(value[0], Turn) else turns_in(value, where, notes)
    else:
        return []
    turns = through_last_answer(turns, notes)
    return turns if len(turns) > 1 else []


def common_prompt(prompt: Sequence[Turn], chosen: Any, rejected: Any, notes: Notes) -> tuple[list[Turn], Any, Any]:
    """Prompt, better and worse answer, where an answer repeats the prompt or holds it: what both begin with is the prompt.

    Raises:
        RowRefusedError: the customer says something else before any answer differs.
    """
    good, bad = whole_conversation(chosen, "chosen", notes), whole_conversation(rejected, "rejected", notes)
    if not good and not bad:
        return list(prompt), *_without_text(prompt, chosen, rejected)
    begin = list(prompt)
    if good and begin and begin[-1].role == "assistant" and begin[-1].content == good[-1].content:
        # Some files repeat the better answer as the end of a conversation.
        begin.pop()
    whole = [_joined(begin, turns, where) if turns else [] for turns, where in ((good, "chosen"), (bad, "rejected"))]
    if all(whole):
        whole = _through_first_difference(whole[0], whole[1], notes)
    asked = (whole[0] or whole[1])[:-1]
    answers: list[Any] = []
    for turns, value, where in zip(whole, (chosen, rejected), ("chosen", "rejected"), strict=True):
        # The turn itself, so that what the file says of it is kept.
        answers.append([turns[-1]] if turns else value if not is_blank(value) else None)
        if turns and turns[-1].role != "assistant":
            raise RowRefusedError("roles", f"{where} must be one assistant message; it ends with a turn of the {turns[-1].role}")
    return asked, answers[0], answers[1]


def _through_first_difference(good: list[Turn], bad: list[Turn], notes: Notes) -> list[list[Turn]]:
    """Both conversations up to the first answers that differ: what comes after them was said in two different conversations."""
    pairs = list(zip(good, bad, strict=False))
    place = next((n for n, (one, other) in enumerate(pairs) if (one.role, one.content) != (other.role, other.content)), len(pairs) - 1)
    if not pairs[place][0].role == pairs[place][1].role == "assistant":
        raise RowRefusedError(
            "roles", "chosen and rejected differ in what the customer says before any answer differs; a pair has one question"
        )
    if place + 1 < max(len(good), len(bad)):
        notes[DIVERGED] += 1
    return [good[: place + 1], bad[: place + 1]]


def answer_of(value: Any, where: str, notes: Notes) -> str:
    """The one answer that a cell holds.

    Raises:
        RowRefusedError: it holds none, or more than one message.
    """
    if isinstance(value, Mapping):
        if not {"role", "from"} & value.keys():
            return answer_of(_text_of(value), where, notes)
        value = [value]
    if isinstance(value, list):
        turns = value if value and isinstance(value[0], Turn) else turns_in(value, where, notes)
        if len(turns) > 1 and turns[0].role == "assistant":
            turns = turns[: next((place for place, turn in enumerate(turns) if turn.role != "assistant"), len(turns))]
        if len(turns) != 1 or turns[0].role != "assistant":
            roles = ", ".join(turn.role for turn in turns)
            raise RowRefusedError("roles", f"{where} must be one assistant message; it has {len(turns)} of {roles}")
        if not turns[0].taught and where == "chosen":
            raise RowRefusedError("untaught", "its better answer is marked as not to be taught")
        return turns[0].content
    if not text_in(value, where).strip():
        raise RowRefusedError("empty", f"{where} is empty; it must hold an answer")
    turn = spoken("assistant", value, where)
    if turn.content != text_in(value, where).strip():
        notes[REASONING] += 1
    return turn.content


def _joined(prompt: list[Turn], turns: list[Turn], where: str) -> list[Turn]:
    """The whole conversation of prompt and turns that may repeat its end, or hold it."""
    said, own = [(t.role, t.content) for t in prompt], [(t.role, t.content) for t in turns]
    if not prompt:
        return turns
    for length in range(min(len(said), len(own)), 0, -1):
        if said[-length:] == own[:length]:
            return [*prompt[:-length], *turns]
    if said[-1] in own:
        return turns
    if turns[0].role == "assistant":
        return [*prompt, *turns]
    raise RowRefusedError("roles", f"{where} begins with other turns than the prompt; it must repeat them or begin with the answer")


def _without_text(prompt: Sequence[Turn], chosen: Any, rejected: Any) -> tuple[Any, Any]:
    """Texts without the prompt that both repeat."""
    asked = prompt[-1].content if prompt else ""
    texts = chosen, rejected
    if asked and all(isinstance(text, str) and text.strip().startswith(asked) and text.strip() != asked for text in texts):
        return chosen.strip()[len(asked) :], rejected.strip()[len(asked) :]
    return texts


def _text_of(candidate: Any) -> Any:
    if isinstance(candidate, Mapping) and not {"role", "from"} & candidate.keys():
        return next((candidate[name] for name in _TEXTS if not is_blank(candidate.get(name))), None)
    return candidate


def _is_turn(value: Any) -> bool:
    return isinstance(value, Mapping) and bool({"role", "from"} & value.keys())


def _score_of(candidate: Any) -> Any:
    return (
        next((candidate[name] for name in _SCORES if number_in(candidate.get(name)) is not None), None)
        if isinstance(candidate, Mapping)
        else None
    )
