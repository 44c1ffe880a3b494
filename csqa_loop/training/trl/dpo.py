"""DPO with an SFT term, each pair by its weight.

The objective is that of Rafailov et al., "Direct Preference Optimization" (arXiv:2305.18290, eq. 7), plus the negative log-likelihood of the
chosen answer (Pang et al., "Iterative Reasoning Preference Optimization", arXiv:2404.19733, eq. 1): without it both answers' probabilities may
sink. The reference is the policy that training starts from: the base with the adapter off, or a frozen copy of the adapter. It never changes,
so its log-probabilities are computed once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import FusedCausalLMOutput, use_adapter

from csqa_loop.settings import TrainingSettings
from csqa_loop.training.trl import arguments, shared_prompt
from csqa_loop.training.trl.examples import OnStep, Preference

_MEASURED_PAIRS = 8
"""Pairs on which the DPO term is measured before and after training: a wrong reference shows on any pair."""


@dataclass
class _Collator(DataCollatorForPreference):
    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        batch["weight"] = torch.tensor([example["weight"] for example in examples])
        return batch


@dataclass(frozen=True)
class Measured:
    """Means over some pairs, in eval mode."""

    loss: float
    """The DPO term alone."""
    margin: float
    drift: float
    """Log-probability of the chosen answers against the reference, nats a token."""


@dataclass(frozen=True)
class _Scores:
    """Of B pairs: log-probabilities of whole answers, and what the chosen ones are made of."""

    chosen: Tensor  # (B,)
    rejected: Tensor  # (B,)
    chosen_tokens: Tensor  # (B,)


class WeightedDPOTrainer(DPOTrainer):
    """trl's loop, data and layout with a loss that weighs each pair. Weights have mean 1, so that the learning rate keeps its meaning."""

    train_dataset: Any
    eval_dataset: Any
    sft_weight: float = 0.0

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:  # noqa: ARG002
        """The weighted mean of the DPO terms, plus the SFT term: weighted nats a token of the chosen answers."""
        scores = self._scores(model, inputs)
        margin, drift = self._against_reference(scores, inputs)
        weight, tokens = inputs["weight"], scores.chosen_tokens.sum()
        loss = -(weight * F.logsigmoid(margin)).mean() - self.sft_weight * (weight * scores.chosen).sum() / tokens
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["dpo_term"].append(-F.logsigmoid(margin.detach()).mean().item())
        metrics["margin"].append(margin.detach().mean().item())
        metrics["drift"].append((drift.detach().sum() / tokens).item())
        return loss

    def prepare_reference(self) -> None:
        """Score every pair once with the reference, which is not needed afterwards."""
        model = self.model.to(self.accelerator.device)
        model.eval()
        name = "ref" if "ref" in model.peft_config else None
        with torch.no_grad(), use_adapter(model, adapter_name=name):
            self.train_dataset = self._with_reference(model, self.train_dataset)
            if self.eval_dataset is not None:
                self.eval_dataset = self._with_reference(model, self.eval_dataset)
        if name:
            model.delete_adapter(name)
        model.train()

    def measure(self) -> Measured:
        """What the loss is made of, on the first pairs."""
        self.model.eval()
        margins, drifts, tokens = [], [], []
        with torch.no_grad():
            for batch in arguments.batches(self, self.train_dataset.select(range(min(_MEASURED_PAIRS, len(self.train_dataset))))):
                scores = self._scores(self.model, batch)
                margin, drift = self._against_reference(scores, batch)
                margins.append(margin)
                drifts.append(drift)
                tokens.append(scores.chosen_tokens)
        self.model.train()
        margin = torch.cat(margins)
        return Measured(
            loss=float(-F.logsigmoid(margin).mean()),
            margin=float(margin.mean()),
            drift=float(torch.cat(drifts).sum() / torch.cat(tokens).sum()),
        )

    def _against_reference(self, scores: _Scores, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Of each pair: beta times how much more the chosen answer gained than the rejected one, and what the chosen one gained, in nats."""
        drift = scores.chosen - inputs["ref_chosen_logps"]
        return self.beta * (drift - (scores.rejected - inputs["ref_rejected_logps"])), drift

    def _scores(self, model: Any, inputs: Mapping[str, Tensor]) -> _Scores:
        answers = inputs["completion_mask"]
        labels = inputs["input_ids"].masked_fill(answers == 0, -100)
        with self.accelerator.autocast():
            output = model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels, use_cache=False, fused_lm_head=True
            )
        chosen, rejected = output.log_probs.float().sum(dim=1).chunk(2)
        return _Scores(chosen, rejected, answers[:, 1:].sum(dim=1).chunk(2)[0])

    def _with_reference(self, model: Any, rows: datasets.Dataset) -> datasets.Dataset:
        scores = [self._scores(model, batch) for batch in arguments.batches(self, rows)]
        columns = {
            "ref_chosen_logps": torch.cat([score.chosen for score in scores]),
            "ref_rejected_logps": torch.cat([score.rejected for score in scores]),
        }
        for name, values in columns.items():
            rows = rows.add_column(name, values.tolist())
        return rows


def build(
    model: Any,
    tokenizer: Any,
    pairs: Sequence[Preference],
    validation: Sequence[Preference],
    settings: TrainingSettings,
    *,
    scratch: Path,
    on_step: OnStep,
    lora: Any,
) -> WeightedDPOTrainer:
    """A trainer whose reference is not scored yet: the caller may still order its rows. `lora` None: the model has its adapter already."""
    config = DPOConfig(
        **arguments.common(settings, scratch, ordered=settings.group_by_length),
        beta=settings.beta,
        disable_dropout=settings.dropout == 0,
    )
    trainer = WeightedDPOTrainer(
        model=model,
        args=config,
        train_dataset=_rows(pairs),
        eval_dataset=_rows(validation) if validation else None,
        processing_class=tokenizer,
        data_collator=_Collator(pad_token_id=tokenizer.pad_token_id),
        peft_config=lora,
        callbacks=arguments.callbacks(settings, on_step),
    )
    trainer.sft_weight = settings.sft_weight
    trainer.precompute_ref_logps = True
    base = trainer.model.get_base_model()
    if not torch.cuda.is_available() and shared_prompt.applies_to(base.config):
        shared_prompt.share_prompts(base, FusedCausalLMOutput)
    arguments.silence(trainer)
    return trainer


def lengths(rows: datasets.Dataset) -> list[int]:
    """Tokens of each pair: the prompt and the longer answer."""
    columns = (rows[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
    return [len(prompt) + max(len(chosen), len(rejected)) for prompt, chosen, rejected in zip(*columns, strict=True)]


def _rows(pairs: Sequence[Preference]) -> datasets.Dataset:
    mean = sum(pair.weight for pair in pairs) / len(pairs)
    return datasets.Dataset.from_list(
        [
            {
                "prompt": [dict(message) for message in pair.prompt],
                "chosen": [{"role": "assistant", "content": pair.chosen}],
                "rejected": [{"role": "assistant", "content": pair.rejected}],
                "weight": pair.weight / mean,
                "name": pair.name,
            }
            for pair in pairs
        ]
    )
