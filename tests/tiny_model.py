"""A model so small that a training step takes no time, and what to train it on."""

from pathlib import Path
from typing import Any

from csqa_loop.settings import TrainingSettings

WORDS = ["<pad>", "<end>", "<user>", "<assistant>", "yes", "no", "may", "it", "be", "returned", "within", "days", "14", "30", "?", "."]
TEMPLATE = (
    "{% for m in messages %}<user> {{ m.content }} {% if m.role == 'assistant' %}<end>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<user> {% endif %}"
)
SETTINGS = TrainingSettings(epochs=2, learning_rate=1e-2, rank=2, alpha=8, batch_size=2, threads=1, checkpoint_steps=1000)


def settings(**changes: Any) -> TrainingSettings:
    """The settings above, otherwise; values out of range are let through."""
    return SETTINGS.model_copy(update=changes)


def asked(question: str) -> list[dict[str, str]]:
    """A prompt of one message."""
    return [{"role": "user", "content": f"may it be returned {question}"}]


def make(folder: Path, *, seed: int = 0) -> str:
    """Write base and tokenizer to `folder`."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<pad>"))
    vocabulary.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=vocabulary, pad_token="<pad>", eos_token="<end>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)
