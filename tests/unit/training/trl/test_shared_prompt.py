"""Packed rows give what trl's own layout gives."""

import pytest

torch = pytest.importorskip("torch")
trl_utils = pytest.importorskip("trl.trainer.utils")

from transformers import GemmaConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config  # noqa: E402

from csqa_loop.training.trl.shared_prompt import applies_to, share_prompts  # noqa: E402

LENGTHS = [(5, 4, 6), (9, 1, 2), (3, 7, 1), (6, 2, 2)]
"""Prompt, chosen, rejected."""


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    made = LlamaForCausalLM(config).float()
    trl_utils.add_fused_lm_head(made, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    return made


def _batch() -> dict[str, object]:
    torch.manual_seed(1)
    pairs, width = len(LENGTHS), max(p + max(c, r) for p, c, r in LENGTHS) + 2
    ids, mask = torch.zeros(2 * pairs, width, dtype=torch.long), torch.zeros(2 * pairs, width, dtype=torch.long)
    labels = torch.full((2 * pairs, width), -100)
    for pair, (prompt, chosen, rejected) in enumerate(LENGTHS):
        words = torch.randint(1, 97, (prompt,))
        for row, length in ((pair, chosen), (pairs + pair, rejected)):
            answer = torch.randint(1, 97, (length,))
            ids[row, : prompt + length] = torch.cat([words, answer])
            labels[row, prompt : prompt + length] = answer
            mask[row, : prompt + length] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "use_cache": False, "fused_lm_head": True}


def _gradients(model, output) -> dict[str, object]:
    model.zero_grad()
    weights = torch.linspace(-1, 1, output.log_probs.numel()).view_as(output.log_probs)  # each token pulls another way
    (output.log_probs * weights).sum().backward()
    return {name: tensor.grad.clone() for name, tensor in model.named_parameters()}


def test_scores_and_gradients_are_those_of_separate_rows(model) -> None:
    apart = model(**_batch())
    expected = _gradients(model, apart)
    share_prompts(model, trl_utils.FusedCausalLMOutput)
    together = model(**_batch())
    actual = _gradients(model, together)
    for name in ("log_probs", "entropy", "mean_logits"):
        torch.testing.assert_close(getattr(together, name), getattr(apart, name), atol=1e-5, rtol=1e-5)
    assert torch.equal(together.is_top1, apart.is_top1)
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, atol=1e-5, rtol=1e-4)


def test_other_calls_are_left_alone(model) -> None:
    ids = _batch()["input_ids"]
    expected = model(input_ids=ids).logits
    share_prompts(model, trl_utils.FusedCausalLMOutput)
    assert torch.equal(model(input_ids=ids).logits, expected)


def test_only_plain_decoders_are_packed() -> None:
    assert applies_to(LlamaConfig())
    assert applies_to(Qwen2Config())
    assert not applies_to(Qwen2Config(use_sliding_window=True, sliding_window=16, max_window_layers=1, num_hidden_layers=4))
    assert not applies_to(GemmaConfig())
