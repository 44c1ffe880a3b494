"""From a row to examples: plain columns, Alpaca, ShareGPT, OpenAI's messages, and the shapes of preference files.

A conversation of several turns gives one example for each answer, with the earlier turns as its context.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from csqa_loop.data.rules.cells import is_blank, list_in, text_in
from csqa_loop.data.rules.columns import Columns, Mark
from csqa_loop.data.rules.examples import Example, Split
from csqa_loop.data.rules.names import is_count
from csqa_loop.data.rules.preferences import SEVERAL, answer_of, check_scores, common_prompt, compared, several
from csqa_loop.data.rules.rows import RowRefusedError
from csqa_loop.data.rules.turns import Notes, Turn, spoken, through_last_answer, turns_in, turns_spelled
from csqa_loop.data.rules.worth import Scale, Verdict, is_off, liked_of, number_in, verdict_of
from csqa_loop.text.normal import normalised

_LONGEST_CATEGORY = 200
Scales = Mapping[str, Scale]
"""Between which numbers each rating column of a file runs."""


def examples_of(values: Mapping[str, Any], columns: Columns, scales: Scales | None = None, notes: Notes | None = None) -> list[Example]:
    """The examples of one row, in the order of the conversation. `notes` counts what was done beside reading.

    Raises:
        RowRefusedError: what the row lacks or says wrongly, and what would be right.
    """
    noted = Notes()
    if columns.liked and not is_blank(values.get(columns.liked)) and not is_blank(values.get(columns.rejected)):
        raise RowRefusedError("label", "it has a rejected answer and a thumb; a row is a pair or a rated answer, not both")
    if columns.weight and is_off(values.get(columns.weight)):
        raise RowRefusedError("untaught", f"{columns.weight} is {values[columns.weight]}: the row is marked as not to be taught")
    category = text_in(values.get(columns.category), "category").strip()
    if len(category) > _LONGEST_CATEGORY:
        raise RowRefusedError("too long", f"category has {len(category)} characters; at most {_LONGEST_CATEGORY} are kept")
    generator = text_in(values.get(columns.generator), "generator")[:_LONGEST_CATEGORY]
    made_from = text_in(values.get(columns.made_from), "made_from").strip()
    chosen, rejected = turns_spelled(values.get(columns.chosen)), turns_spelled(values.get(columns.rejected))
    if columns.candidates and is_blank(chosen):
        chosen, rejected = compared(values[columns.candidates], values.get(columns.scores))
    liked = liked_of(_verdicts(values, columns.marks, scales or {}))
    turns = _turns(values, columns, noted)
    goods = several(chosen, values.get(columns.chosen_score), "chosen")
    bads = several(rejected, values.get(columns.rejected_score), "rejected")
    asked: list[_Asked] = []
    for good, good_score in goods:
        for bad_one, bad_score in bads:
            check_scores(good_score, bad_score, ranks="rank" in columns.chosen_score.casefold())
            asked += _asked(turns, good, bad_one, liked, noted)
    if len(goods) * len(bads) > 1:
        noted[SEVERAL] += 1
    split = _split(values.get(columns.split))
    found = [
        Example(
            tuple(turn.message for turn in before), answer, bad, liked=own, category=category, split=split,
            generator=generator, made_from=made_from,
        )
        for before, answer, bad, own in asked
    ]  # fmt: skip
    if notes is not None:
        notes.update(noted.keys())
    return found


_Asked = tuple[Sequence[Turn], str, str | None, bool | None]
"""What was said before, the answer, the worse one, and whether it was liked."""


def _verdicts(values: Mapping[str, Any], marks: Sequence[Mark], scales: Scales) -> list[tuple[str, Verdict]]:
    """What each mark of the answer says; an unset mark of badness says nothing, nor does an unset thumb beside its counterpart, or no vote at all."""
    said: list[tuple[str, Verdict]] = []
    kinds = [mark.kind for mark in marks]
    # Annotators who differ are a list.
    each = [(mark, one) for mark in marks for given in [values.get(mark.column)] for one in (given if isinstance(given, list) else [given])]
    for column, kind, value in ((mark.column, mark.kind, one) for mark, one in each):
        if is_blank(value):
            continue
        match kind:
            case "thumb" | "stars" | "score":
                said.append((column, verdict_of(value, column, scales.get(column), kind=kind)))
            case "bad" if _is_set(value, column):
                said.append((column, "bad"))
            case "good" if _is_set(value, column):
                said.append((column, "good"))
            case "good" if "bad" not in kinds and not is_count(column):
                said.append((column, "bad"))
    return said


def _is_set(value: Any, column: str) -> bool:
    """Whether a flag is set, or a count of votes is above 0."""
    number = number_in(value)
    return number > 0 if number is not None else verdict_of(value, column) == "good"


def _turns(values: Mapping[str, Any], columns: Columns, notes: Notes) -> list[Turn]:
    """Everything said before the answers in question; for a conversation without any, everything."""
    if columns.conversation:
        turns = turns_in(values[columns.conversation], columns.conversation, notes)
        system = text_in(values.get(columns.system), "system").strip()
        return [Turn("system", system), *turns] if system and (not turns or turns[0].role != "system") else turns
    prompt = turns_spelled(values.get(columns.question))
    if isinstance(prompt, list):
        return turns_in(prompt, columns.question, notes)
    if is_blank(prompt) and not columns.question:
        return []
    if is_blank(prompt) and isinstance(values.get(columns.chosen), list):
        return []
    return _flat(values, columns)


def _flat(values: Mapping[str, Any], columns: Columns) -> list[Turn]:
    question = text_in(values.get(columns.question), "question").strip()
    if not question:
        raise RowRefusedError("empty", f"{columns.question!r} is empty; it must hold the customer's question")
    turns = []
    if system := text_in(values.get(columns.system), "system").strip():
        turns.append(Turn("system", system))
    for number, (asked, answered) in enumerate(_history(values.get(columns.history)), start=1):
        turns += [spoken("user", asked, f"history {number}"), spoken("assistant", answered, f"history {number}")]
    # Alpaca: the input is what the instruction is about.
    context = text_in(values.get(columns.input), "input").strip()
    turns.append(spoken("user", f"{question}\n\n{context}" if context else question, "question"))
    return turns


def _asked(turns: list[Turn], chosen: Any, rejected: Any, liked: bool | None, notes: Notes) -> list[_Asked]:
    if is_blank(chosen):
        turns = through_last_answer(turns, notes)
        if not turns or turns[-1].role != "assistant":
            if not is_blank(rejected):
                raise RowRefusedError("empty", "it has a rejected answer but no chosen one; both make a pair")
            raise RowRefusedError("empty", "its answer is empty; a row needs what should be answered")
        if is_blank(rejected):
            return _each_answer(turns, liked)
        # The conversation ends with the better answer.
        turns, chosen = turns[:-1], [turns[-1]]
    elif isinstance(chosen, str) and turns and turns[-1].role == "assistant" and normalised(turns[-1].content) == normalised(chosen):
        turns = turns[:-1]
    if not is_blank(rejected) or isinstance(chosen, list) or not turns:
        turns, chosen, rejected = common_prompt(turns, chosen, rejected, notes)
    if not turns or turns[-1].role != "user":
        raise RowRefusedError("roles", "the conversation before the answer does not end with the customer; its last turn must be theirs")
    answer = answer_of(chosen, "chosen", notes)
    bad = None if is_blank(rejected) else answer_of(rejected, "rejected", notes)
    if bad is not None and normalised(answer) == normalised(bad):
        raise RowRefusedError("equal", "chosen and rejected say the same; a pair needs two different answers")
    return [(turns, answer, bad, liked)]


def _each_answer(turns: Sequence[Turn], liked: bool | None) -> list[_Asked]:
    """One example an assistant turn that follows a customer's; greetings are context, and so is what is marked as not to be taught.

    A thumb rates the last answer alone.
    """
    places = [place for place, turn in enumerate(turns) if turn.role == "assistant" and place and turns[place - 1].role == "user"]
    if not places:
        raise RowRefusedError("roles", "no assistant turn follows a customer's; there is nothing to learn from")
    if liked is not None:
        places = places[-1:]
    answered: list[_Asked] = [
        (turns[:place], turns[place].content, None, liked if liked is not None else _own_thumb(turns[place]))
        for place in places
        if (turns[place].taught or liked is False) and turns[place].verdict != "neither"
    ]
    if not answered:
        raise RowRefusedError("untaught", "each of its answers is marked as not to be taught, or as neither good nor bad")
    return answered


def _own_thumb(turn: Turn) -> bool | None:
    return None if turn.verdict is None else turn.verdict == "good"


def _history(value: Any) -> list[tuple[Any, Any]]:
    if is_blank(value):
        return []
    rounds = list_in(value, "history") if isinstance(value, str) else value
    if not isinstance(rounds, list) or any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in rounds):
        raise RowRefusedError("roles", "history is no list of [question, answer] pairs")
    return [(asked, answered) for asked, answered in rounds]


def _split(value: Any) -> Split:
    name = text_in(value, "split").strip().casefold()
    if name in {"", "train"}:
        return "train"
    if name in {"holdout", "test", "validation", "eval"}:
        return "holdout"
    raise RowRefusedError("label", f"split is {name[:40]!r}; train or holdout is expected")
