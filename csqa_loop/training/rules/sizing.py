"""What `auto` means in a training's settings: stated rules, from the data's size and the memory that is free."""

import math
from collections.abc import Collection, Sequence

ATTENTION = ("k_proj", "o_proj", "q_proj", "v_proj")
_RANKS = ((1_000, 8), (10_000, 16))
_LARGEST_RANK = 32
_SCALE = 4
_LARGE_SHARE = 0.5


def rank(examples: int, limit: int) -> int:
    """8 below 1,000 examples, 16 below 10,000, 32 beyond: few examples are learned by heart with more. Never above `limit`."""
    by_size = next((rank for below, rank in _RANKS if examples < below), _LARGEST_RANK)
    return min(by_size, limit)


def alpha(rank: int, *, rslora: bool) -> int:
    """So that the update is scaled by 4, which is what 32 at rank 8 measured well with: alpha / rank, or alpha / sqrt(rank) for rsLoRA."""
    return round(_SCALE * math.sqrt(rank)) if rslora else _SCALE * rank


def target_modules(model_bytes: int, free_bytes: int, names: Collection[str]) -> str | tuple[str, ...]:
    """Every linear layer; where the base alone takes more than half of the free memory, the attention's four, if the model has them."""
    if model_bytes > _LARGE_SHARE * free_bytes and set(ATTENTION) <= set(names):
        return ATTENTION
    return "all-linear"


def quantile(values: Sequence[int], q: float) -> int:
    """The smallest value that at least a share `q` of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def max_length(lengths: Sequence[int], window: int) -> int:
    """The longest example, rounded up to 64 tokens, at most the model's window."""
    return min(window, math.ceil(max(lengths) / 64) * 64)


def batches_of_equals(lengths: Sequence[int], batch: int, shuffled: Sequence[int]) -> list[int]:
    """An order of `shuffled` in which every `batch` in a row is nearly equally long. The longest batch comes first: what does not fit into
    memory shows at once; the others keep the order in which chance met them.
    """
    if not shuffled:
        return []
    arrival = {place: number for number, place in enumerate(shuffled)}
    by_length = sorted(shuffled, key=lambda place: (-lengths[place], arrival[place]))
    groups = [by_length[start : start + batch] for start in range(0, len(by_length), batch)]
    # A batch that is not full must come last: all others would be cut differently.
    full, rest = (groups, []) if len(groups[-1]) == batch else (groups[:-1], groups[-1:])
    ordered = full[:1] + sorted(full[1:], key=lambda group: min(arrival[place] for place in group)) + rest
    return [place for group in ordered for place in group]
