"""Scores of stages, added up."""

from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.knowledge.stages.fusion import Weights, fused, reranked, scaled

SCORES = st.dictionaries(st.sampled_from("abcdef"), st.floats(-1, 1), max_size=6)


def test_scores_are_scaled_to_the_best_and_the_worst() -> None:
    assert scaled({"a": 0.75, "b": 0.25, "c": 0.5}) == {"a": 1.0, "b": 0.0, "c": 0.5}
    assert scaled({"a": 8.0, "b": 2.0}, from_zero=True) == {"a": 1.0, "b": 0.25}
    assert scaled({}) == {}
    assert scaled({"a": 0.3, "b": 0.3}) == {"a": 1.0, "b": 1.0}


def test_a_term_found_moves_a_candidate_by_its_weight() -> None:
    dense = {"a": 0.9, "b": 0.8, "c": 0.4}
    assert fused(dense, {"b": 7.0}, Weights(lexical=0.1, late=0)) == ["a", "b", "c"]
    assert fused(dense, {"b": 7.0}, Weights(lexical=0.3, late=0)) == ["b", "a", "c"]


@given(SCORES, SCORES, st.floats(0, 2))
def test_every_candidate_stays_and_names_break_ties(dense: dict[str, float], lexical: dict[str, float], weight: float) -> None:
    said = {name: abs(score) for name, score in lexical.items() if name in dense}
    order = fused(dense, said, Weights(weight, 1.0))
    assert sorted(order) == sorted(dense)
    assert fused(dict.fromkeys(dense, 0.5), {}, Weights(weight, 1.0)) == sorted(dense)
    again = reranked(order, dense, {name: dense[name] for name in order[:3]}, Weights(weight, 4.0))
    assert sorted(again[:3]) == sorted(order[:3])
    assert again[3:] == order[3:]
