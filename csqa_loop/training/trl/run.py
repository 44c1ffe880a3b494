"""One training from beginning to end: load, check, train or continue, check again, write the adapter."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import datasets
import torch
import transformers
from safetensors.torch import load_file
from transformers import set_seed

from csqa_loop.errors import PermanentError
from csqa_loop.settings import TrainingSettings
from csqa_loop.training.rules import sizing
from csqa_loop.training.rules.plan import Method
from csqa_loop.training.trl import base as bases
from csqa_loop.training.trl import checkpoints, dpo, invariants, kto, lora, sft
from csqa_loop.training.trl.examples import Examples, OnStep, Trained
from csqa_loop.training.trl.watch import Seal

_T = TypeVar("_T")
_MIN_VALIDATION = 4
_BUILDERS: dict[Method, Callable[..., Any]] = {"dpo": dpo.build, "kto": kto.build, "sft": sft.build}
_LENGTHS: dict[Method, Callable[..., list[int]]] = {"dpo": dpo.lengths, "kto": kto.lengths, "sft": sft.lengths}


def quiet() -> None:
    """No progress bars: a run's log is for people who look for an error."""
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def train(
    folder: Path,
    *,
    method: Method,
    base_model: str,
    parent: Path | None,
    examples: Examples,
    settings: TrainingSettings,
    scratch: Path,
    on_step: OnStep,
    fingerprint: str = "",
) -> Trained:
    """Train by `method` from `parent`'s adapter, or from the bare base, and write the new adapter to `folder`.

    A training that was killed continues from the newest sound checkpoint in `scratch`, and ends with the same adapter. `fingerprint`: what
    the base must have, where it is known.

    Raises:
        PermanentError: the base is another one, an invariant does not hold (`invariants`), or the parent cannot be continued
            (`lora.check_parent`, `lora.check_shape`).
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    base = bases.identify(base_model, pinned=fingerprint)
    if parent is not None:
        lora.check_parent(parent, base_model=base_model, fingerprint=base.fingerprint)
    model = bases.load(base_model, settings)
    fresh = None
    if parent is None:
        fresh = _fresh(model, settings, examples.count(method))
    else:
        lora.check_shape(parent, settings, model)
        model = lora.continued(model, parent, settings)
    trainer = _build(method, model, bases.load_tokenizer(base_model), examples, settings, scratch, on_step, fresh)
    lengths = _LENGTHS[method](trainer.train_dataset)
    window = int(getattr(model.config, "max_position_embeddings", 0)) or max(lengths)
    limit = window if settings.max_length == "auto" else min(window, settings.max_length)
    invariants.fit_the_length(trainer.train_dataset["name"], lengths, limit, window)
    if settings.group_by_length and not (method == "kto" or (method == "sft" and settings.order == "easy_first")):
        shuffled = Random(settings.seed).sample(range(len(lengths)), len(lengths))
        trainer.train_dataset = trainer.train_dataset.select(sizing.batches_of_equals(lengths, settings.batch_size, shuffled))

    policy = trainer.model
    adapter_before = {name: tensor.detach().cpu().clone() for name, tensor in policy.named_parameters() if tensor.requires_grad}
    base_before = invariants.fingerprints(policy)
    before = _before(trainer)
    trainer.add_callback(Seal(base.fingerprint))
    trainer.train(resume_from_checkpoint=checkpoints.newest(scratch, base.fingerprint))
    _check_best(trainer, settings)
    after = _after(trainer, settings)
    # B is zero in a fresh adapter, and so is A's gradient in the first step.
    invariants.moved(policy, adapter_before, base_before, only_b=parent is None and trainer.state.global_step == 1)
    if trainer.accelerator.is_main_process:
        lora.save(policy, folder, base_model, {lora.BASE_KEY: base.fingerprint})

    history = tuple({name: float(value) for name, value in entry.items()} for entry in trainer.state.log_history)
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return Trained(
        first_loss=before.get("dpo_term_before"),
        metrics={
            "steps": float(trainer.state.global_step),
            "examples": float(len(lengths)),
            "validation_examples": float(len(trainer.eval_dataset or ())),
            **({"pairs_used": float(len(lengths))} if method == "dpo" else {}),
            **{f"tokens_{name}": float(sizing.quantile(lengths, q)) for name, q in (("median", 0.5), ("p95", 0.95), ("longest", 1.0))},
            "loss_first_step": losses[0],
            "loss_last_step": losses[-1],
            **before,
            **after,
        },
        versions=checkpoints.library_versions(),
        base_revision=base.revision,
        base_fingerprint=base.fingerprint,
        chosen={
            "method": method,
            "lora": lora.described(policy.peft_config["default"]),
            "max_length": sizing.max_length(lengths, limit),
            "precision": str(bases.dtype(settings)).removeprefix("torch."),
        },
        history=history,
    )


def placebo(
    folder: Path, *, base_model: str, parent: Path | None, settings: TrainingSettings, label: str, fingerprint: str = ""
) -> Trained:
    """Write to `folder` an adapter that answers like the champion under another name: for the base a LoRA whose B is zero, for an adapter
    its tensors with `label` in the file's metadata.

    Raises:
        PermanentError: the base is another one than `fingerprint` says, or the parent is none of it.
    """
    base = bases.identify(base_model, pinned=fingerprint)
    metadata = {lora.BASE_KEY: base.fingerprint, "placebo": label}
    if parent is not None:
        lora.check_parent(parent, base_model=base_model, fingerprint=base.fingerprint)
        lora.write(folder, load_file(parent / lora.TENSORS_FILE), lora.plain_config(parent), base_model, metadata)
    else:
        from peft import get_peft_model

        set_seed(settings.seed)
        model = bases.load(base_model, settings)
        lora.save(get_peft_model(model, _fresh(model, settings, 0)), folder, base_model, metadata)
    return Trained(
        first_loss=None,
        metrics={"steps": 0.0},
        versions=checkpoints.library_versions(),
        base_revision=base.revision,
        base_fingerprint=base.fingerprint,
    )


def _fresh(model: Any, settings: TrainingSettings, examples: int) -> Any:
    targets = bases.target_modules(model, settings)
    lora.check_patterns(settings, targets, model)
    return lora.shape(settings, examples=examples, target_modules=targets)


def _build(
    method: Method, model: Any, tokenizer: Any, examples: Examples, settings: TrainingSettings, scratch: Path, on_step: OnStep, fresh: Any
) -> Any:
    material: Sequence[Any] = {
        "dpo": examples.pairs,
        "kto": [*examples.rated, *kto.rated_of(examples.pairs)],
        "sft": examples.demonstrations,
    }[method]
    trained, watched = _split(material, settings)
    return _BUILDERS[method](model, tokenizer, trained, watched, settings, scratch=scratch, on_step=on_step, lora=fresh)


def _split(material: Sequence[_T], settings: TrainingSettings) -> tuple[Sequence[_T], Sequence[_T]]:
    """What to train on, and what early stopping watches."""
    if not settings.patience:
        return material, ()
    number = round(len(material) * settings.validation_share)
    if number < _MIN_VALIDATION:
        msg = (
            f"training.patience is set, and {settings.validation_share:.0%} of {len(material)} examples are {number}; "
            f"early stopping needs {_MIN_VALIDATION} to watch: raise training.validation_share, or set patience to 0"
        )
        raise PermanentError(msg)
    watched = set(Random(settings.seed).sample(range(len(material)), number))
    sides = ([row for place, row in enumerate(material) if (place in watched) == side] for side in (False, True))
    trained, validation = sides
    return trained, validation


def _before(trainer: Any) -> dict[str, float]:
    """Score the reference, and make sure that training starts from it."""
    if isinstance(trainer, dpo.WeightedDPOTrainer):
        trainer.prepare_reference()
        measured = trainer.measure()
        invariants.starts_at_the_reference(measured.loss, measured.margin)
        return {"dpo_term_before": measured.loss, "margin_before": measured.margin}
    if isinstance(trainer, kto.ReferencedKTOTrainer):
        trainer.prepare_reference()
        margin = trainer.measure()
        invariants.starts_without_reward(margin)
        return {"margin_before": margin}
    return {}


def _after(trainer: Any, settings: TrainingSettings) -> dict[str, float]:
    if isinstance(trainer, dpo.WeightedDPOTrainer):
        measured = trainer.measure()
        invariants.does_not_collapse(measured.drift, trainer.state.global_step, settings.collapse_nats)
        return {"dpo_term_after": measured.loss, "margin_after": measured.margin, "drift_after": measured.drift}
    if isinstance(trainer, kto.ReferencedKTOTrainer):
        return {"margin_after": trainer.measure()}
    return {}


def _check_best(trainer: Any, settings: TrainingSettings) -> None:
    best = trainer.state.best_model_checkpoint
    if settings.patience and not (best and Path(best).is_dir()):
        msg = f"the best checkpoint {best or ''} is gone, so it cannot be kept; train again from an empty checkpoints folder"
        raise PermanentError(msg)
