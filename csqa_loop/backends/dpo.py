"""DPO with an SFT term on a LoRA: the only importer of trl and peft.

The objective is that of Rafailov et al., "Direct Preference Optimization" (arXiv:2305.18290, eq. 7), plus the negative log-likelihood of the
chosen answer (Pang et al., "Iterative Reasoning Preference Optimization", arXiv:2404.19733, eq. 1): without it both answers' probabilities may sink.
The reference is the champion itself: the base with the adapter off, or a frozen copy of the champion's adapter.
"""

import importlib.metadata
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csqa_loop.domain.errors import PermanentError
from csqa_loop.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from trl import DPOTrainer

LN2 = math.log(2)
_TOLERANCE = 0.01
_MEASURED_PAIRS = 8
"""Pairs on which the DPO term is measured before and after training: a wrong reference shows on any pair."""
_LIBRARIES = ("torch", "transformers", "trl", "peft", "safetensors")

OnStep = Callable[[int, int, float | None], None]
"""Step, steps in all, loss of that step."""


@dataclass(frozen=True)
class Preference:
    """For `prompt` (messages of {role, content}), `chosen` is a better answer than `rejected`."""

    prompt: Sequence[Mapping[str, str]]
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Trained:
    """What there is to say about a finished training."""

    first_loss: float | None
    """The DPO term alone before step 1, in eval mode: ln 2 when policy and reference agree. None for a placebo."""
    metrics: dict[str, float]
    versions: dict[str, str]


def train(
    folder: Path,
    *,
    base_model: str,
    parent: Path | None,
    pairs: Sequence[Preference],
    settings: TrainingSettings,
    scratch: Path,
    on_step: OnStep,
) -> Trained:
    """Train on `pairs` from the champion (`parent`'s adapter, or the bare base) and write the new adapter to `folder`.

    Raises:
        PermanentError: the parent is no plain LoRA, no pair fits `max_length`, the reference is not the policy before step 1, the loss or a
            tensor is not a number, the adapter did not move, or the base did.
    """
    import torch
    from transformers import AutoTokenizer

    if settings.threads:
        torch.set_num_threads(settings.threads)
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    model = _load_policy(base_model, parent)
    trainer = _build_trainer(model, tokenizer, pairs, settings, scratch, on_step, fresh=parent is None)
    kept = len(trainer.train_dataset)
    policy = trainer.model
    adapter_before = {name: tensor.detach().clone() for name, tensor in policy.named_parameters() if tensor.requires_grad}
    base_before = _fingerprints(policy)

    first_loss, margin_before = _measure(trainer)
    if not abs(first_loss - LN2) <= _TOLERANCE:  # written so that NaN stops the run too
        msg = (
            f"the DPO term before step 1 is {first_loss:.4f}; it must be ln 2 = {LN2:.4f} within {_TOLERANCE}: "
            "the reference is not the policy that training starts from, so nothing was trained"
        )
        raise PermanentError(msg)
    trainer.train()
    last_loss, margin_after = _measure(trainer)

    _check_moved(policy, adapter_before, base_before)
    _save(policy, folder, base_model)
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    metrics = {
        "steps": float(trainer.state.global_step),
        "pairs_used": float(kept),
        "pairs_too_long": float(len(pairs) - kept),
        "loss_first_step": history[0]["loss"],
        "loss_last_step": history[-1]["loss"],
        "dpo_term_before": first_loss,
        "dpo_term_after": last_loss,
        "margin_before": margin_before,
        "margin_after": margin_after,
    }
    return Trained(first_loss=first_loss, metrics=metrics, versions=library_versions())


def placebo(folder: Path, *, base_model: str, parent: Path | None, settings: TrainingSettings, label: str) -> Trained:
    """Write to `folder` an adapter that answers like the champion under another name: for the base a LoRA whose B is zero, for an adapter
    its tensors with `label` in the file's metadata.

    Raises:
        PermanentError: the parent is no plain LoRA.
    """
    import torch
    from safetensors.torch import load_file

    if parent is not None:
        config = _plain_lora(parent)
        _write_adapter(folder, load_file(parent / "adapter_model.safetensors"), config, base_model, {"placebo": label})
    else:
        from peft import get_peft_model
        from transformers import AutoModelForCausalLM, set_seed

        set_seed(settings.seed)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32), _lora(settings))
        _save(model, folder, base_model, {"placebo": label})
    return Trained(first_loss=None, metrics={"steps": 0.0}, versions=library_versions())


def quiet() -> None:
    """No progress bars: a run's log is for people who look for an error."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def library_versions() -> dict[str, str]:
    """Versions of what shapes the result."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _load_policy(base_model: str, parent: Path | None) -> Any:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    # float32 on a CPU: bfloat16 has no fast kernels on most, and its rounding is of the size of the updates.
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    if parent is not None:
        _plain_lora(parent)
    base = AutoModelForCausalLM.from_pretrained(base_model, dtype=dtype)
    return base if parent is None else PeftModel.from_pretrained(base, parent, is_trainable=True)


def _plain_lora(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    if config.get("peft_type") != "LORA":
        msg = f"{folder} is of type {config.get('peft_type')!r}; the champion must be a LoRA adapter"
        raise PermanentError(msg)
    if config.get("modules_to_save"):
        msg = f"{folder} carries whole modules ({', '.join(config['modules_to_save'])}); vLLM does not serve modules_to_save: use a plain LoRA"
        raise PermanentError(msg)
    return config


def _lora(settings: TrainingSettings) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        bias="none",
        task_type="CAUSAL_LM",
    )


def _build_trainer(
    model: Any, tokenizer: Any, pairs: Sequence[Preference], settings: TrainingSettings, scratch: Path, on_step: OnStep, *, fresh: bool
) -> "DPOTrainer":
    import datasets
    import torch
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from trl import DPOConfig, DPOTrainer
    from trl.trainer.utils import FusedCausalLMOutput

    from csqa_loop.backends import shared_prompt

    class Reporter(TrainerCallback):
        """Tells every step's loss, and ends the run at the first that is not a number."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            del args, control
            if not logs or "loss" not in logs:
                return
            if not math.isfinite(logs["loss"]):
                msg = f"the loss is {logs['loss']} at step {state.global_step}; a smaller learning rate may help (now {settings.learning_rate})"
                raise PermanentError(msg)
            on_step(state.global_step, state.max_steps, logs["loss"])

    gpu = torch.cuda.is_available()
    config = DPOConfig(
        output_dir=str(scratch),
        save_strategy="no",
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        use_cpu=not gpu,
        bf16=gpu,
        gradient_checkpointing=gpu,  # memory is scarce there, time here
        dataloader_pin_memory=gpu,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        max_length=settings.max_length,
        beta=settings.beta,
        loss_type=["sigmoid", "sft"] if settings.sft_weight else ["sigmoid"],
        loss_weights=[1.0, settings.sft_weight] if settings.sft_weight else [1.0],
        disable_dropout=settings.dropout == 0,
        seed=settings.seed,
        data_seed=settings.seed,
    )
    rows = [
        {
            "prompt": [dict(message) for message in pair.prompt],
            "chosen": [{"role": "assistant", "content": pair.chosen}],
            "rejected": [{"role": "assistant", "content": pair.rejected}],
        }
        for pair in pairs
    ]
    try:
        trainer = DPOTrainer(
            model=model,
            args=config,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=_lora(settings) if fresh else None,
            callbacks=[Reporter()],
        )
    except StopIteration as error:
        raise _nothing_fits(settings) from error
    if not len(trainer.train_dataset):
        raise _nothing_fits(settings)
    trainer.remove_callback(PrinterCallback)
    base = trainer.model.get_base_model()
    if not gpu and shared_prompt.applies_to(base.config):
        shared_prompt.share_prompts(base, FusedCausalLMOutput)
    _precompute_reference(trainer, settings.batch_size)
    return trainer


def _nothing_fits(settings: TrainingSettings) -> PermanentError:
    return PermanentError(
        f"no prompt is shorter than training.max_length = {settings.max_length} tokens; raise it, or retrieve fewer chunks"
    )


def _precompute_reference(trainer: "DPOTrainer", batch_size: int) -> None:
    """The reference never changes: one pass instead of one per epoch. As trl's own precompute, without its cache file and its memory of old runs."""
    import torch

    rows = trainer.train_dataset
    chosen, rejected = [], []
    trainer.model.eval()
    for start in range(0, len(rows), batch_size):
        batch = trainer.data_collator([rows[index] for index in range(start, min(start + batch_size, len(rows)))])
        batch = {name: tensor.to(trainer.accelerator.device) for name, tensor in batch.items()}
        with torch.no_grad():
            chosen_logps, rejected_logps = trainer.compute_ref_log_probs(trainer.model, batch)
        chosen += chosen_logps.float().tolist()
        rejected += rejected_logps.float().tolist()
    trainer.train_dataset = rows.add_column("ref_chosen_logps", chosen).add_column("ref_rejected_logps", rejected)
    trainer.precompute_ref_logps = True


def _measure(trainer: "DPOTrainer") -> tuple[float, float]:
    """DPO term alone and mean reward margin, in eval mode, on the first pairs."""
    import torch

    types, weights = trainer.loss_types, trainer.loss_weights
    trainer.loss_types, trainer.loss_weights = ["sigmoid"], [1.0]
    trainer.model.eval()
    count = min(_MEASURED_PAIRS, len(trainer.train_dataset))
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(count)])
    batch = {name: tensor.to(trainer.accelerator.device) for name, tensor in batch.items()}
    try:
        with torch.no_grad(), trainer.compute_loss_context_manager():
            loss = float(trainer.compute_loss(trainer.model, batch))
        margin = trainer._metrics["eval"].pop("rewards/margins")[-1]  # noqa: SLF001 - trl offers it through its log only
        trainer._metrics["eval"].clear()  # noqa: SLF001
    finally:
        trainer.loss_types, trainer.loss_weights = types, weights
        trainer.model.train()
    return loss, float(margin)


def _fingerprints(model: "PeftModel") -> dict[str, int]:
    """One number a base tensor that changes with any single bit (XOR over its words)."""
    import torch

    return {
        name: int(torch.hash_tensor(tensor.detach()).view(torch.int64))  # it is unsigned, and too large for an int otherwise
        for name, tensor in model.named_parameters()
        if "lora_" not in name
    }


def _check_moved(model: "PeftModel", adapter_before: "dict[str, torch.Tensor]", base_before: dict[str, int]) -> None:
    import torch

    still, broken = [], []
    for name, before in adapter_before.items():
        after = model.get_parameter(name).detach()
        if not torch.isfinite(after).all():
            broken.append(name)
        elif torch.equal(before, after):
            still.append(name)
    if broken:
        msg = f"{len(broken)} adapter tensors hold values that are not numbers, {broken[0]} for one; a smaller learning rate may help"
        raise PermanentError(msg)
    if still:
        msg = f"{len(still)} of {len(adapter_before)} adapter tensors did not move, {still[0]} for one; the adapter was not trained"
        raise PermanentError(msg)
    after = _fingerprints(model)
    changed = [name for name, value in base_before.items() if after[name] != value]
    if changed:
        msg = f"{len(changed)} tensors of the base model changed, {changed[0]} for one; only the adapter may be trained"
        raise PermanentError(msg)


def _save(model: "PeftModel", folder: Path, base_model: str, metadata: Mapping[str, str] | None = None) -> None:
    from peft import get_peft_model_state_dict

    config = model.peft_config["default"].to_dict()
    state = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    _write_adapter(folder, state, config, base_model, metadata or {})


def _write_adapter(
    folder: Path, state: "dict[str, torch.Tensor]", config: dict[str, Any], base_model: str, metadata: Mapping[str, str]
) -> None:
    """The two files of an adapter. What peft keeps in sets is sorted: the name of an adapter is a hash of these bytes."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: sorted(value) if isinstance(value, set) or name == "target_modules" else value for name, value in config.items()}
    plain |= {"base_model_name_or_path": base_model, "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n")
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()},
        folder / "adapter_model.safetensors",
        {"format": "pt", **metadata},
    )
