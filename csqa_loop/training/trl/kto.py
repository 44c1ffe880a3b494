"""KTO (Ethayarajh et al., "Model Alignment as Prospect Theoretic Optimization", arXiv:2402.01306): liked and disliked answers."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import datasets
import torch
from trl import KTOConfig, KTOTrainer

from csqa_loop.settings import TrainingSettings
from csqa_loop.training.trl import arguments, invariants
from csqa_loop.training.trl.examples import OnStep, Preference, Rated


class ReferencedKTOTrainer(KTOTrainer):
    """trl's trainer with a reference that is scored once, without trl's cache file and its memory of old runs."""

    train_dataset: Any
    eval_dataset: Any

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """trl's loss; logged beside it: log-probability of the liked answers against the reference, nats a token."""
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        metrics = self._metrics["train" if self.model.training else "eval"]
        liked = inputs["label"].bool()
        if liked.any():
            tokens = inputs["completion_mask"][liked].sum().item() / liked.sum().item()
            metrics["drift"].append(metrics["rewards/chosen"][-1] / self.beta / tokens)
        return loss

    def prepare_reference(self) -> None:
        """Score every answer, with its own prompt and with a neighbour's, by the reference, which is not needed afterwards."""
        self.model.to(self.accelerator.device).eval()
        self.train_dataset = self._with_reference(self.train_dataset)
        if self.eval_dataset is not None:
            self.eval_dataset = self._with_reference(self.eval_dataset)
        if "ref" in self.model.peft_config:
            self.model.delete_adapter("ref")
        self.precompute_ref_logps = True
        self.model.train()

    def measure(self) -> float:
        """How much liked answers are rewarded more than disliked ones, in eval mode."""
        self.model.eval()
        rewards = {True: 0.0, False: 0.0}
        liked = list(self.train_dataset["label"])
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch in arguments.batches(self, self.train_dataset):
                self.compute_loss(self.model, batch)
                metrics = self._metrics["eval"]
                for label, name in ((True, "rewards/chosen"), (False, "rewards/rejected")):
                    if metrics[name]:
                        rewards[label] += metrics[name][-1] * int((batch["label"].bool() == label).sum())
                metrics.clear()
        self.model.train()
        return float(rewards[True] / sum(liked) - rewards[False] / (len(liked) - sum(liked)))

    def _with_reference(self, rows: datasets.Dataset) -> datasets.Dataset:
        scores = [self.compute_ref_log_probs(self.model, batch) for batch in arguments.batches(self, rows)]
        rows = rows.add_column("ref_logps", torch.cat([own for own, _ in scores]).float().tolist())
        return rows.add_column("ref_KL_logps", torch.cat([unpaired for _, unpaired in scores]).float().tolist())


def rated_of(pairs: Sequence[Preference]) -> list[Rated]:
    """Both sides of each pair."""
    sides = ((pair, liked) for pair in pairs for liked in (True, False))
    return [Rated(pair.prompt, pair.chosen if liked else pair.rejected, liked, pair.name) for pair, liked in sides]


def build(
    model: Any,
    tokenizer: Any,
    rated: Sequence[Rated],
    validation: Sequence[Rated],
    settings: TrainingSettings,
    *,
    scratch: Path,
    on_step: OnStep,
    lora: Any,
) -> ReferencedKTOTrainer:
    """A trainer whose reference is not scored yet.

    Raises:
        PermanentError: the batches or the examples are too few.
    """
    liked = sum(answer.liked for answer in rated)
    invariants.fits_kto(liked, len(rated) - liked, settings)
    shuffled = Random(settings.seed).sample(rated, len(rated))
    # The last batch is filled up with the first examples: it needs as many neighbours as the others.
    filled = shuffled + shuffled[: -len(shuffled) % settings.batch_size]
    rows = _rows(filled)
    disliked = len(rated) - liked
    config = KTOConfig(
        **arguments.common(settings, scratch, ordered=True),
        beta=settings.beta,
        disable_dropout=settings.dropout == 0,
        # The rarer side counts more, so that both weigh the same (section 4.2, eq. 8).
        desirable_weight=max(1.0, disliked / liked),
        undesirable_weight=max(1.0, liked / disliked),
    )
    trainer = ReferencedKTOTrainer(
        model=model,
        args=config,
        train_dataset=rows,
        eval_dataset=_rows(validation) if validation else None,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=arguments.callbacks(settings, on_step),
    )
    arguments.silence(trainer)
    return trainer


def lengths(rows: datasets.Dataset) -> list[int]:
    """Tokens of each prompt with its answer."""
    return [len(prompt) + len(answer) for prompt, answer in zip(rows["prompt_ids"], rows["completion_ids"], strict=True)]


def _rows(rated: Sequence[Rated]) -> datasets.Dataset:
    return datasets.Dataset.from_list(
        [
            {
                "prompt": [dict(message) for message in answer.prompt],
                "completion": [{"role": "assistant", "content": answer.answer}],
                "label": answer.liked,
                "name": answer.name,
            }
            for answer in rated
        ]
    )
