"""Callbacks while a model trains: report every step, end a run that went wrong, stop one that is done, and seal checkpoints."""

from collections import deque
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from csqa_loop.settings import TrainingSettings
from csqa_loop.training.trl import checkpoints, invariants
from csqa_loop.training.trl.examples import OnStep

_WINDOW = 5
"""Steps that a collapse is averaged over: one batch alone says little."""


class Watch(TrainerCallback):
    """Reports every step's loss, and ends the run where the loss is no number or the chosen answers collapse."""

    def __init__(self, settings: TrainingSettings, on_step: OnStep) -> None:
        self._settings = settings
        self._on_step = on_step
        self._drifts: deque[float] = deque(maxlen=_WINDOW)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Report the step and check its loss."""
        del args, control
        if not logs or "loss" not in logs:
            return
        invariants.is_a_number(logs["loss"], state.global_step, self._settings.learning_rate)
        drift = logs.get("drift")
        if drift is not None:
            self._drifts.append(drift)
            if len(self._drifts) == _WINDOW:
                invariants.does_not_collapse(sum(self._drifts) / _WINDOW, state.global_step, self._settings.collapse_nats)
        self._on_step(state.global_step, state.max_steps, logs["loss"])


class Patience(TrainerCallback):
    """Stops when the validation loss has not been beaten for a while. Its memory is the log, which a checkpoint keeps."""

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop where the validation loss has not improved for long enough."""
        del args
        losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
        best = losses.index(min(losses))
        control.should_training_stop = control.should_training_stop or len(losses) - 1 - best >= self._patience


class Seal(TrainerCallback):
    """A checkpoint counts once its files' hashes lie beside them, with the fingerprint of the base it was trained on."""

    def __init__(self, base: str) -> None:
        self._base = base

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seal the checkpoint."""
        del control
        if state.is_world_process_zero:
            checkpoints.seal(Path(args.output_dir) / f"checkpoint-{state.global_step}", self._base)
