"""How many preference pairs does training take in a second of CPU, beside a plain trl script on the same pairs, and does it learn the same?

Pairs are the corrections of the packaged shop, each with the passages that its policy offers: prompts of about 230 tokens, as retrieval makes them.
The baseline is what trl's documentation shows: DPO with an SFT term in float32, the reference asked again at every step. Ours adds, one after
the other: a reference that is asked once, prompts that are read once for both answers, and batches of equally long pairs; beside them the same in
bfloat16. The time of the reference counts; loading the model does not.

Training keeps every core busy, so CPU seconds judge it, which neighbours on the machine change little; pairs a second by the clock are told beside.
What is judged must learn the same: equal batches give equal losses, and other batches the same mean over an epoch. bfloat16 is told and not judged:
on a CPU it is faster and learns less (in the first two epochs about half), because an adapter's first updates are smaller than what bfloat16
keeps of a layer's output. So a CPU trains in float32 unless a setting says otherwise.

Writes var/bench/training_throughput.json; exit status 1 when a goal is missed. CSQA_TEST_RUNS sets the number of pairs, CSQA_TEST_EPOCHS the
epochs, and CSQA_TEST_STEPS names the variants (default: all).
"""

import contextlib
import gc
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
import yaml
from _bench import Figure, figure, report
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from csqa_loop.answering.rules.prompt import build_messages
from csqa_loop.events import ChatMessage
from csqa_loop.knowledge.rules.chunking import chunk_markdown
from csqa_loop.local.base_model import prepare
from csqa_loop.settings import Settings, TrainingSettings
from csqa_loop.training.rules import sizing
from csqa_loop.training.trl import dpo, lora, run
from csqa_loop.training.trl.examples import Preference

SEED = 20_263
SHOP = Path("csqa_loop/scenarios/harbour-shop")
GOAL = 2.0
SAME_BATCHES = 0.01
"""Largest difference of a step's loss between layouts in float32."""
OTHER_BATCHES = 0.05
"""Largest difference of the last epoch's mean loss when batches are cut differently."""
BATCH = 4


@dataclass(frozen=True)
class Measured:
    """One training."""

    pairs_per_second: float
    cpu_seconds: float
    losses: list[float]


def pairs(number: int) -> list[Preference]:
    """Corrections of the shop; rejected is the correction of another question of the same policy."""
    questions = yaml.safe_load((SHOP / "scenario.yaml").read_text())["questions"]
    made = []
    for place, question in enumerate(questions[:number]):
        passages = chunk_markdown((SHOP / "policies" / question["policy"]).read_text(), 700)
        # One passage or two: prompts differ in length as they do when retrieval decides.
        first = place % len(passages)
        excerpts = [passage.text for passage in (passages * 2)[first : first + 1 + place % 2]]
        messages = build_messages([ChatMessage(role="user", content=question["ask"][0])], excerpts)
        other = questions[(place + 1) % len(questions)]["correction"]
        made.append(Preference([message.model_dump() for message in messages], question["correction"], other, name=question["id"]))
    return made


def plain(base: str, data: list[Preference], settings: TrainingSettings, scratch: Path) -> Measured:
    """trl, as its documentation shows it."""
    import datasets

    rows = [
        {
            "prompt": list(pair.prompt),
            "chosen": [{"role": "assistant", "content": pair.chosen}],
            "rejected": [{"role": "assistant", "content": pair.rejected}],
        }
        for pair in data
    ]
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        args=DPOConfig(
            output_dir=str(scratch), save_strategy="no", logging_steps=1, report_to=[], disable_tqdm=True, use_cpu=True, bf16=False,
            gradient_checkpointing=False, num_train_epochs=settings.epochs, per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate, beta=settings.beta, loss_type=["sigmoid", "sft"], loss_weights=[1.0, settings.sft_weight],
            disable_dropout=True, max_length=None, seed=settings.seed, data_seed=settings.seed,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear", task_type="CAUSAL_LM"),
    )  # fmt: skip
    return _timed(trainer, len(data) * settings.epochs, trainer.train)


def ours(base: str, data: list[Preference], settings: TrainingSettings, scratch: Path, *, share: bool) -> Measured:
    """What `jobs.train_adapter` does between loading and saving; without shared prompts where `share` is off."""
    from csqa_loop.training.trl import base as bases

    with contextlib.nullcontext() if share else patch.object(dpo.shared_prompt, "applies_to", return_value=False):
        trainer = dpo.build(
            bases.load(base, settings),
            bases.load_tokenizer(base),
            data,
            (),
            settings,
            scratch=scratch,
            on_step=lambda *_: None,
            lora=lora.shape(settings, examples=len(data), target_modules="all-linear"),
        )
    if settings.group_by_length:
        lengths = dpo.lengths(trainer.train_dataset)
        trainer.train_dataset = trainer.train_dataset.select(sizing.batches_of_equals(lengths, settings.batch_size, range(len(lengths))))

    def both() -> None:
        trainer.prepare_reference()
        trainer.train()

    return _timed(trainer, len(data) * settings.epochs, both)


def _timed(trainer: Any, seen: float, work: Any) -> Measured:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Measured(seen / wall, used, losses)


def measure(base: str, number: int, epochs: float, wanted: set[str]) -> Iterator[tuple[str, Measured]]:
    """The variants in order, each with everything of those before it."""
    data = pairs(number)
    shared: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": BATCH,
        "rank": 8,
        "alpha": 32,
        "seed": 1,
        "precision": "float32",
        "checkpoint_steps": 10_000,
    }
    variants: dict[str, dict[str, Any]] = {
        "reference_once": {"share": False},
        "prompt_shared": {},
        "length_grouped": {"group_by_length": True},
        "bfloat16": {"precision": "bfloat16"},
        "bfloat16_grouped": {"precision": "bfloat16", "group_by_length": True},
    }
    with tempfile.TemporaryDirectory(prefix="csqa-bench-training-") as folder:
        if "baseline" in wanted:
            yield "baseline", plain(base, data, TrainingSettings(**shared), Path(folder) / "baseline")
        for name, changes in variants.items():
            if name in wanted:
                share = changes.pop("share", True)
                yield name, ours(base, data, TrainingSettings(**shared | changes), Path(folder) / name, share=share)


def figures(measured: dict[str, Measured], number: int, epochs: float) -> list[Figure]:
    """Speed of each variant beside the baseline, and how far its losses are from the baseline's."""
    found: list[Figure] = []
    beside = measured["baseline"]
    epoch = math.ceil(number / BATCH)
    speeds: dict[str, float] = {}
    for name, one in measured.items():
        rates = [number * epochs / each.cpu_seconds for each in (one, beside)]
        found += [
            figure(f"pairs_per_cpu_second.{name}", rates[0], "pairs/CPU s", n=number, seed=SEED, baseline=rates[1]),
            figure(f"pairs_per_second.{name}", one.pairs_per_second, "pairs/s", n=number, seed=SEED, baseline=beside.pairs_per_second),
            figure(f"speed.{name}", rates[0] / rates[1], "times baseline", n=number, seed=SEED, baseline=1.0),
        ]
        judged = "bfloat16" not in name
        if judged:
            speeds[name] = rates[0] / rates[1]
        if name != "baseline" and "grouped" not in name:
            apart = max(abs(own - other) for own, other in zip(one.losses, beside.losses, strict=True))
            found.append(figure(f"losses_apart.{name}", apart, "nats", n=number, seed=SEED, goal=SAME_BATCHES if judged else None))
        if name != "baseline":
            apart = abs(sum(one.losses[-epoch:]) - sum(beside.losses[-epoch:])) / epoch
            found.append(figure(f"last_epoch_apart.{name}", apart, "nats", n=number, seed=SEED, goal=OTHER_BATCHES if judged else None))
    found.append(
        figure("speed.float32", max(speeds.values()), "times baseline", n=number, seed=SEED, goal=GOAL, at_least=True, baseline=1.0)
    )
    return found


def main() -> int:
    """Measure, write, judge."""
    run.quiet()
    number, epochs = int(os.environ.get("CSQA_TEST_RUNS", "24")), float(os.environ.get("CSQA_TEST_EPOCHS", "3"))
    named = os.environ.get("CSQA_TEST_STEPS", "baseline reference_once prompt_shared length_grouped bfloat16 bfloat16_grouped")
    measured: dict[str, Measured] = {}
    for name, one in measure(prepare(Settings(var=Path("var"))), number, epochs, set(named.split())):
        measured[name] = one
        gc.collect()  # trainers hold their models in cycles
        print(
            f"{name}: {one.pairs_per_second:.3f} pairs/s, {one.cpu_seconds:.1f} s of CPU, losses {[round(loss, 3) for loss in one.losses]}",
            file=sys.stderr,
        )
    return report("training_throughput", figures(measured, number, epochs))


if __name__ == "__main__":
    sys.exit(main())
