"""A first SFT: demonstrations alone, answer tokens alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
from trl import SFTConfig, SFTTrainer

from csqa_loop.settings import TrainingSettings
from csqa_loop.training.trl import arguments
from csqa_loop.training.trl.examples import Demonstrated, OnStep


def build(
    model: Any,
    tokenizer: Any,
    demonstrations: Sequence[Demonstrated],
    validation: Sequence[Demonstrated],
    settings: TrainingSettings,
    *,
    scratch: Path,
    on_step: OnStep,
    lora: Any,
) -> SFTTrainer:
    """A trainer. With `order` easy_first short answers come first, and every epoch is alike."""
    easy_first = settings.order == "easy_first"
    config = SFTConfig(**arguments.common(settings, scratch, ordered=easy_first or settings.group_by_length), completion_only_loss=True)
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=_rows(sorted(demonstrations, key=lambda demonstration: len(demonstration.answer)) if easy_first else demonstrations),
        eval_dataset=_rows(validation) if validation else None,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=arguments.callbacks(settings, on_step),
    )
    arguments.silence(trainer)
    return trainer


def lengths(rows: datasets.Dataset) -> list[int]:
    """Tokens of each prompt with its answer."""
    return [len(ids) for ids in rows["input_ids"]]


def _rows(demonstrations: Sequence[Demonstrated]) -> datasets.Dataset:
    return datasets.Dataset.from_list(
        [
            {
                "prompt": [dict(message) for message in demonstration.prompt],
                "completion": [{"role": "assistant", "content": demonstration.answer}],
                "name": demonstration.name,
            }
            for demonstration in demonstrations
        ]
    )
