"""A DPO forward pass that reads each prompt once, for CPUs.

trl runs [prompt, chosen] and [prompt, rejected] as two rows and projects every position on the vocabulary. Retrieved policies make prompts ten
times longer than answers, so nearly all of that work is done twice, or for positions that no loss looks at. Here a pair is one row
[prompt, chosen, rejected]: a mask keeps the answers from seeing each other, both start at the same position, and only positions that predict an
answer's token meet the vocabulary. The log-probabilities are the same up to rounding. On a GPU trl's own kernel already skips the prompt.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

_PLAIN_DECODERS = frozenset({"llama", "qwen2", "qwen3"})
"""Decoders whose logits are the head's output as it is: no scaling, no soft cap, no recurrent state."""


@dataclass(frozen=True)
class _Packed:
    """B pairs as B rows of T tokens, and where each of the N answer tokens is predicted and belongs."""

    input_ids: "Tensor"  # (B, T)
    position_ids: "Tensor"  # (B, T)
    mask: "Tensor"  # (B, 1, T, T), True: may attend
    source: tuple["Tensor", "Tensor"]  # (N,) row and position whose output predicts the token
    target: tuple["Tensor", "Tensor"]  # (N,) row and position in trl's (2B, L - 1) layout
    tokens: "Tensor"  # (N,)


def applies_to(config: Any) -> bool:
    """Whether the model of this configuration computes the same with packed rows: full attention in every layer, a plain head."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return config.model_type in _PLAIN_DECODERS and kinds == {"full_attention"}


def share_prompts(model: Any, output: Callable[..., Any]) -> None:
    """Replace the scoring half of a causal LM's forward, which trl asks for with `fused_lm_head=True`; other calls are unchanged.

    `output` makes what trl expects back, from loss, log_probs, entropy, mean_logits and is_top1.
    """
    before = model.forward

    def forward(*args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return before(*args, **kwargs)
        packed = _pack(kwargs["input_ids"], kwargs["labels"])
        hidden = model.base_model(
            input_ids=packed.input_ids, position_ids=packed.position_ids, attention_mask=packed.mask, use_cache=False
        ).last_hidden_state
        logits = model.get_output_embeddings()(hidden[packed.source]).float()  # (N, V)
        log_probs = torch.log_softmax(logits, dim=-1)
        token_log_probs = log_probs.gather(1, packed.tokens[:, None])[:, 0]
        shape = (kwargs["labels"].shape[0], kwargs["labels"].shape[1] - 1)

        def laid_out(values: "Tensor") -> "Tensor":
            return values.new_zeros(shape).index_put(packed.target, values)

        with torch.no_grad():
            entropy = -(log_probs.exp() * log_probs).sum(-1)
            fields = {
                "entropy": laid_out(entropy),
                "mean_logits": laid_out(logits.mean(-1)),
                "is_top1": laid_out(logits.argmax(-1) == packed.tokens),
            }
        return output(loss=-token_log_probs.mean(), log_probs=laid_out(token_log_probs), **fields)

    model.forward = forward


def _pack(input_ids: "Tensor", labels: "Tensor") -> _Packed:
    """From trl's layout: rows i and B + i are one pair's chosen and rejected sequence; labels are -100 before and after the answer."""
    pairs = input_ids.shape[0] // 2
    answer = labels != -100
    starts, lengths = answer.int().argmax(dim=1).tolist(), answer.sum(dim=1).tolist()
    prompts = [
        min(starts[i] if lengths[i] else starts[pairs + i], starts[pairs + i] if lengths[pairs + i] else starts[i]) for i in range(pairs)
    ]
    width = max(prompts[i] + lengths[i] + lengths[pairs + i] for i in range(pairs))

    ids = input_ids.new_zeros((pairs, width))
    positions = input_ids.new_zeros((pairs, width))
    segments = input_ids.new_full((pairs, width), -1)  # 0 prompt, 1 chosen, 2 rejected, -1 padding
    source_rows: list[int] = []
    source_places: list[int] = []
    target_rows: list[int] = []
    target_places: list[int] = []
    tokens = []
    for pair, prompt in enumerate(prompts):
        ids[pair, :prompt] = input_ids[pair, :prompt]
        positions[pair, :prompt] = torch.arange(prompt)
        segments[pair, :prompt] = 0
        place = prompt
        for segment, row in ((1, pair), (2, pairs + pair)):
            length = lengths[row]
            ids[pair, place : place + length] = input_ids[row, prompt : prompt + length]
            positions[pair, place : place + length] = torch.arange(prompt, prompt + length)
            segments[pair, place : place + length] = segment
            # The answer's first token is predicted by the prompt's last position, each later one by the one before it.
            source_places += ([prompt - 1, *range(place, place + length - 1)]) if length else []
            source_rows += [pair] * length
            target_places += range(prompt - 1, prompt + length - 1)
            target_rows += [row] * length
            tokens.append(input_ids[row, prompt : prompt + length])
            place += length
    earlier = torch.ones((width, width), dtype=torch.bool).tril()
    visible = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])
    mask = earlier & visible
    mask |= torch.eye(width, dtype=torch.bool)  # padding sees itself: a row without any key gives NaN
    return _Packed(
        input_ids=ids,
        position_ids=positions,
        mask=mask[:, None],
        source=(torch.tensor(source_rows), torch.tensor(source_places)),
        target=(torch.tensor(target_rows), torch.tensor(target_places)),
        tokens=torch.cat(tokens),
    )
