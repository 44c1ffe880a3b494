"""What must hold in every training, before, during and after; each stops the run with its reason."""

import math
from collections.abc import Mapping, Sequence

import torch
from peft import PeftModel
from torch import Tensor

from csqa_loop.errors import PermanentError, UnfitError
from csqa_loop.settings import KTO_MIN_BATCH, TrainingSettings

LN2 = math.log(2)
_TOLERANCE = 0.01


def starts_at_the_reference(first_loss: float, margin: float) -> None:
    """Before step 1 the DPO term is ln 2 and the margin 0: policy and reference are the same."""
    if not abs(first_loss - LN2) <= _TOLERANCE:  # written so that NaN stops the run too
        msg = (
            f"the DPO term before step 1 is {first_loss:.4f}; it must be ln 2 = {LN2:.4f} within {_TOLERANCE}: "
            "the reference is not the policy that training starts from, so nothing was trained"
        )
        raise PermanentError(msg)
    starts_without_reward(margin)


def starts_without_reward(margin: float) -> None:
    """Before step 1 no answer is rewarded more than another."""
    # A margin m moves the term by m / 2.
    if not abs(margin) <= 2 * _TOLERANCE:
        msg = (
            f"the reward margin before step 1 is {margin:.4f}; it must be 0 within {2 * _TOLERANCE}: "
            "the reference is not the policy that training starts from, so nothing was trained"
        )
        raise PermanentError(msg)


def fits_kto(liked: int, disliked: int, settings: TrainingSettings) -> None:
    """KTO compares each answer with the others of its batch, and needs both kinds."""
    if settings.batch_size < KTO_MIN_BATCH:
        msg = (
            f"training.batch_size is {settings.batch_size}; KTO estimates a divergence within each batch and needs at least {KTO_MIN_BATCH}"
        )
        raise PermanentError(msg)
    if not liked or not disliked or liked + disliked < KTO_MIN_BATCH:
        msg = f"there are {liked} liked and {disliked} disliked answers; KTO needs some of each, and at least {KTO_MIN_BATCH} in all"
        raise PermanentError(msg)


def fit_the_length(names: Sequence[str], lengths: Sequence[int], limit: int, window: int) -> None:
    """An answer that is cut off would teach the model to stop in the middle."""
    too_long = [(length, name) for name, length in zip(names, lengths, strict=True) if length > limit]
    if too_long:
        length, name = max(too_long)
        limit_name = f"training.max_length = {limit}" if limit < window else f"the model's window of {window} tokens"
        msg = (
            f"{len(too_long)} of {len(lengths)} examples are longer than {limit_name}, {name or 'one'} with {length} tokens; "
            f"{'raise it, or set it to auto; else ' if limit < window else ''}the next run leaves them out; shorten them, or retrieve fewer chunks"
        )
        raise UnfitError(msg, tuple(sorted({name for _, name in too_long if name})))


def is_a_number(loss: float, step: int, learning_rate: float) -> None:
    """A loss that is no number stays none."""
    if not math.isfinite(loss):
        msg = f"the loss is {loss} at step {step}; a smaller learning rate may help (now {learning_rate})"
        raise PermanentError(msg)


def does_not_collapse(drift: float, step: int, limit: float) -> None:
    """Preference losses can be won by making both answers unlikely. `drift`: nats a token of the chosen answers, against the reference."""
    if drift < -limit:
        msg = (
            f"by step {step} the chosen answers have lost {-drift:.2f} nats a token against the reference, and training.collapse_nats allows {limit}: "
            "the model unlearns what it should say; a larger sft_weight or beta, or a smaller learning rate, may help"
        )
        raise PermanentError(msg)


def moved(model: PeftModel, before: Mapping[str, Tensor], base_before: Mapping[str, int], *, only_b: bool = False) -> None:
    """Every tensor of the adapter moved and is a number, and none of the base did. `only_b`: A had no gradient yet."""
    still, broken = [], []
    for name, old in before.items():
        new = model.get_parameter(name).detach()
        if not torch.isfinite(new).all():
            broken.append(name)
        elif torch.equal(old, new) and not (only_b and "lora_A" in name):
            still.append(name)
    if broken:
        msg = f"{len(broken)} adapter tensors hold values that are not numbers, {broken[0]} for one; a smaller learning rate may help"
        raise PermanentError(msg)
    if still:
        msg = f"{len(still)} of {len(before)} adapter tensors did not move, {still[0]} for one; the adapter was not trained"
        raise PermanentError(msg)
    after = fingerprints(model)
    changed = [name for name, value in base_before.items() if after[name] != value]
    if changed:
        msg = f"{len(changed)} tensors of the base model changed, {changed[0]} for one; only the adapter may be trained"
        raise PermanentError(msg)


def fingerprints(model: PeftModel) -> dict[str, int]:
    """One number a base tensor that changes with any single bit (XOR over its words)."""
    return {
        name: int(torch.hash_tensor(tensor.detach()).view(torch.int64))  # it is unsigned, and too large for an int otherwise
        for name, tensor in model.named_parameters()
        if "lora_" not in name
    }
