"""Files that hold answers side by side: what they call better is chosen, what they call worse never is, and what cannot be told is refused."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.data.importing import Importer, ImportOptions
from csqa_loop.data.rules.report import Outcome, Tally
from csqa_loop.data.rules.rows import Row
from csqa_loop.data.seen import SeenBefore
from csqa_loop.evidence.rules.quality import QualityPolicy

ASKED, GOOD, BAD, WORST = "How long may I keep it?", "You have 14 days.", "You have 5 days.", "You have no days at all."
ARGILLA = {"prompt": ASKED, "response-1": BAD, "response-2": GOOD}


def turns(*said: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)]


def taken(values: Mapping[str, Any]) -> tuple[list[tuple[str, str | None]], list[Outcome], Tally]:
    heard: list[Outcome] = []
    tally = Tally(listener=heard.append)
    with SeenBefore() as seen:
        found = list(Importer(ImportOptions(), seen, tally, QualityPolicy()).examples([Row(1, values)]))
    assert all(example.question == ASKED for _, example in found)
    return [(example.answer, example.rejected) for _, example in found], heard, tally


@pytest.mark.parametrize(
    "values",
    [
        {"winner": "model_b", "conversation_a": turns(ASKED, BAD, "And shoes?", "7 days"), "conversation_b": turns(ASKED, GOOD, "And shoes?", "8 days")},
        {"prompt": f'["{ASKED}", "And shoes?"]', "response_a": f'["{BAD}", "7"]', "response_b": f'["{GOOD}", "8"]', "winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0},
        {"prompt": ASKED, "Response A": GOOD, "Response B": BAD, "Winner": "Response A"},
        {"prompt": ASKED, "response_0": BAD, "response_1": GOOD, "is_response_0_safe": False, "better_response_id": 1, "safer_response_id": 1},
        {"context": turns(ASKED), "response1": BAD, "response2": GOOD, "overall_preference": 2},
        {"context": turns(ASKED), "response1": GOOD, "response2": BAD, "overall_preference": "-1"},
        {"question": ASKED, "answer_a": GOOD, "answer_b": BAD, "preference": "A"},
        {"question": ASKED, "answer_a": GOOD, "answer_b": BAD, "preference": ["a", "answer_a"]},
        {"instruction": ASKED, "input": "", "output_1": BAD, "output_2": GOOD, "preference": 2},
        {"prompt": ASKED, "answer_0": GOOD, "answer_1": BAD, "score_0": 0.5, "score_1": -0.5},
        {"prompt": ASKED, "response_1": GOOD, "response_2": BAD, "rank_1": 1, "rank_2": 2},
        {"prompt": ASKED, "responses": [BAD, GOOD], "ranks": [2, 1]},
        {"prompt": ASKED, "answers": [{"answer": BAD, "rank": 7.0}, {"answer": GOOD, "rank": 1.0}]},
        {"fields": ARGILLA, "responses": [{"values": {"order": {"value": [{"value": "response-2", "rank": 1}, {"value": "response-1", "rank": 2}]}}}]},
        {"fields": ARGILLA, "responses": {"order": [{"value": ["response-2", "response-1"], "status": "submitted"}]}},
        {"fields": ARGILLA, "suggestions": [{"question_name": "order", "value": ["response-2", "response-1"]}]},
        ARGILLA | {"ranking.suggestion": ["response-2", "response-1"]},
        {"chosen": f"\n\nHuman: {ASKED}\n\nAssistant: {GOOD}\n\nHuman: Shoes?\n\nAssistant: 8", "rejected": f"\n\nHuman: {ASKED}\n\nAssistant: {BAD}\n\nHuman: So?\n\nAssistant: 9"},
        {"chosen": turns(ASKED, GOOD), "rejected": turns(ASKED, BAD, "And shoes?", "9 days")},
    ],
)  # fmt: skip
def test_the_better_answer_is_chosen(values: dict[str, Any]) -> None:
    found, heard, _ = taken(values)
    assert found == [(GOOD, BAD)], [outcome.reason for outcome in heard]


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ({"winner": "tie (bothbad)", "conversation_a": turns(ASKED, BAD), "conversation_b": turns(ASKED, GOOD)}, "neither", "none of its 2"),
        ({"prompt": ASKED, "response_a": BAD, "response_b": GOOD, "winner_model_a": 0, "winner_model_b": 0, "winner_tie": 1}, "neither", ""),
        ({"prompt": ASKED, "response1": BAD, "response2": GOOD, "overall_preference": 0}, "neither", "none of its 2"),
        ({"prompt": ASKED, "answer_a": GOOD, "answer_b": BAD, "preference": 1}, "label", "the answers are called a, b"),
        ({"prompt": ASKED, "answer_1": GOOD, "answer_2": BAD, "preference": 0}, "label", "the answers are called 1, 2"),
        ({"prompt": ASKED, "answer_a": GOOD, "answer_b": BAD, "winner": ["a", "b"]}, "label", "do not agree"),
        ({"prompt": ASKED, "answer_a": GOOD, "answer_b": BAD, "winner": "a", "score_a": 1, "score_b": 2}, "label", "contradict"),
        ({"prompt": ASKED, "responses": [BAD, GOOD], "ranks": [1, 1]}, "neither", "one rank"),
        ({"prompt": ASKED, "responses": [BAD, GOOD], "ranks": [1]}, "label", "2 answers and 1 ranks"),
        (ARGILLA | {"ranking": [["response-2", "response-1"], ["response-1", "response-2"]]}, "label", "do not agree"),
        ({"chosen": turns(ASKED, GOOD), "rejected": turns("And shoes?", BAD)}, "roles", "the customer says"),
        ({"prompt": ASKED, "chosen": GOOD, "rejected": [BAD, WORST], "rejected_score": [1]}, "label", "2 answers and 1 scores"),
        ({"prompt": ASKED, "chosen": GOOD, "chosen_score": 3, "rejected": [BAD, WORST], "rejected_score": [1, 4]}, "neither", "no better"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused(values: dict[str, Any], kind: str, says: str) -> None:
    found, (outcome,), _ = taken(values)
    assert (found, outcome.verdict, outcome.kind) == ([], "refused", kind)
    assert says in outcome.reason


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": ASKED, "chosen": GOOD, "rejected": [BAD, WORST]},
        {"prompt": ASKED, "chosen": GOOD, "chosen_score": 4, "rejected": [{"text": BAD}, {"text": WORST}], "rejected_score": [2, 1]},
        {"prompt": ASKED, "responses": [BAD, GOOD, WORST], "rank": [2, 1, 3]},
        {"fields": ARGILLA | {"response-3": WORST}, "suggestions": {"order": {"value": ["response-2", "response-1", "response-3"]}}},
    ],
)
def test_each_worse_answer_makes_a_pair(values: dict[str, Any]) -> None:
    found, _, tally = taken(values)
    assert sorted(found, key=str) == [(GOOD, BAD), (GOOD, WORST)]
    assert tally.paired == 2


def test_the_report_names_the_columns_of_the_file() -> None:
    _, _, tally = taken({"prompt": ASKED, "response_a": BAD, "response_b": GOOD, "winner": "b", "model_a": "x", "judge": "y"})
    (became,) = tally.columns
    assert dict(became) == {
        "prompt": "question", "response_a": "chosen or rejected", "response_b": "chosen or rejected", "winner": "which answer is better", "model_a": "", "judge": "",
    }  # fmt: skip


@given(
    order=st.permutations([GOOD, BAD, WORST]),
    shape=st.sampled_from(["ranks", "ranked", "argilla", "names", "scores"]),
    spelt=st.sampled_from(["response_{}", "Answer {}", "output{}", "candidate-answer-{}"]),
)
def test_what_a_file_calls_worst_is_never_chosen(order: list[str], shape: str, spelt: str) -> None:
    ranks = [[GOOD, BAD, WORST].index(answer) + 1 for answer in order]
    names = [spelt.format(place + 1) for place in range(3)]
    texts = dict(zip(names, order, strict=True))
    told: dict[str, Any] = {
        "ranks": {"responses": order, "ranks": ranks},
        "ranked": {"completions": [{"text": answer, "rank": rank} for answer, rank in zip(order, ranks, strict=True)]},
        "argilla": texts | {"ranking": [{"value": name, "rank": rank} for name, rank in zip(names, ranks, strict=True)]},
        "names": texts | {"order": [names[ranks.index(rank)] for rank in (1, 2, 3)]},
        "scores": {"responses": order, "scores": [4 - rank for rank in ranks]},
    }[shape]
    found, _, _ = taken({"prompt": ASKED} | told)
    assert {answer for answer, _ in found} <= {GOOD}
    assert found or spelt.startswith("candidate")
