"""The arguments of every trl trainer, whatever the method."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from csqa_loop.settings import TrainingSettings
from csqa_loop.training.trl.base import dtype
from csqa_loop.training.trl.examples import OnStep
from csqa_loop.training.trl.watch import Patience, Watch

_CHECKPOINTS_KEPT = 2
"""The newest may be half written when its process dies."""


def common(settings: TrainingSettings, scratch: Path, *, ordered: bool) -> dict[str, Any]:
    """Keyword arguments of every trl config. `ordered`: the examples are taken as they come."""
    gpu = torch.cuda.is_available()
    rhythm = (
        {"save_strategy": "steps", "save_steps": settings.checkpoint_steps} if settings.checkpoint_steps else {"save_strategy": "epoch"}
    )
    if settings.patience:
        rhythm |= {name.replace("save", "eval"): value for name, value in rhythm.items()}
        rhythm |= {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": False}
    return rhythm | {
        "output_dir": str(scratch),
        "save_total_limit": _CHECKPOINTS_KEPT,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would show the last good loss instead
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": not gpu,
        "bf16": gpu and dtype(settings) == torch.bfloat16,
        # Memory is scarce on a GPU, time on a CPU.
        "gradient_checkpointing": gpu if settings.gradient_checkpointing == "auto" else settings.gradient_checkpointing == "on",
        "dataloader_pin_memory": gpu,
        "remove_unused_columns": False,  # the collators take what they need
        "train_sampling_strategy": "sequential" if ordered else "random",
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "max_length": None,  # longer examples stop the run before it starts
        "seed": settings.seed,
        "data_seed": settings.seed,
    }


def callbacks(settings: TrainingSettings, on_step: OnStep) -> list[TrainerCallback]:
    """The callbacks of every trainer."""
    watching: list[TrainerCallback] = [Watch(settings, on_step)]
    return [*watching, Patience(settings.patience)] if settings.patience else watching


def silence(trainer: Any) -> None:
    """A run's log is for people who look for an error."""
    trainer.remove_callback(PrinterCallback)


def batches(trainer: Any, rows: Any) -> Iterator[dict[str, torch.Tensor]]:
    """Rows in their order, laid out and placed as the trainer does it."""
    size = trainer.args.train_batch_size
    for start in range(0, len(rows), size):
        batch = trainer.data_collator([rows[place] for place in range(start, min(start + size, len(rows)))])
        yield {name: tensor.to(trainer.accelerator.device) for name, tensor in batch.items()}
