"""What the stages say of a candidate, added up. The weights belong to a language and are measured: `make bench NAME=retrieval_quality`."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weights:
    """Of a stage's scaled scores, beside 1 for the dense stage's."""

    lexical: float
    late: float


WEIGHTS = {"en": Weights(lexical=0.2, late=4.0), "zh": Weights(lexical=0.4, late=4.0)}
"""By the language of the question."""


def scaled(scores: Mapping[str, float], *, from_zero: bool = False) -> dict[str, float]:
    """The scores on [0, 1]: the best becomes 1; the worst becomes 0, or what is 0 stays so."""
    if not scores:
        return {}
    best, worst = max(scores.values()), 0.0 if from_zero else min(scores.values())
    if best <= worst:
        return dict.fromkeys(scores, 1.0 if best > 0 or not from_zero else 0.0)
    return {name: (score - worst) / (best - worst) for name, score in scores.items()}


def fused(dense: Mapping[str, float], lexical: Mapping[str, float], weights: Weights) -> list[str]:
    """Candidates, best first, ties by name. `dense` has every candidate, `lexical` those that share a term with the question."""
    near, said = scaled(dense), scaled(lexical, from_zero=True)
    total = {name: score + weights.lexical * said.get(name, 0.0) for name, score in near.items()}
    return sorted(total, key=lambda name: (-total[name], name))


def reranked(first: list[str], dense: Mapping[str, float], late: Mapping[str, float], weights: Weights) -> list[str]:
    """`first`, those that have a late score in the order of what it and the dense stage say, the others behind them."""
    judged = [name for name in first if name in late]
    near, close = scaled({name: dense[name] for name in judged}), scaled(late)
    total = {name: near[name] + weights.late * close[name] for name in judged}
    return sorted(judged, key=lambda name: (-total[name], name)) + [name for name in first if name not in late]
