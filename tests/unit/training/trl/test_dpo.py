"""DPO on a model so small that a step takes no time: it learns, from where it should, and the same every time."""

import json
import math
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file

from csqa_loop.errors import PermanentError
from csqa_loop.training.adapters import adapter_name
from csqa_loop.training.trl import examples
from tests.tiny_model import asked


def test_every_step_is_told(train, tmp_path: Path) -> None:
    steps: list[tuple[int, int, float | None]] = []
    train(tmp_path / "a", on_step=lambda *step: steps.append(step))
    assert [step[:2] for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_term_starts_at_ln_2_and_the_margin_grows(first) -> None:
    _, trained = first
    assert trained.first_loss == pytest.approx(math.log(2), abs=1e-4)
    assert trained.metrics["margin_before"] == pytest.approx(0.0, abs=1e-4)
    assert trained.metrics["margin_after"] > 0.01
    assert trained.metrics["dpo_term_after"] < trained.first_loss
    assert trained.metrics["pairs_used"] == 3
    assert trained.metrics["tokens_longest"] == 13


def test_an_adapter_is_two_files_for_this_base(first, base: str) -> None:
    folder, trained = first
    assert sorted(file.name for file in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == base
    assert config["target_modules"] == sorted(config["target_modules"])
    assert not config["modules_to_save"]
    assert all("lora_" in name for name in load_file(folder / "adapter_model.safetensors"))
    assert trained.chosen["lora"]["r"] == 2
    assert (trained.base_revision, len(trained.base_fingerprint)) == ("", 64)


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(first, train, tmp_path: Path) -> None:
    train(tmp_path / "again")
    train(tmp_path / "other", changes={"seed": 1})
    assert adapter_name(tmp_path / "again") == adapter_name(first[0])
    assert adapter_name(tmp_path / "other") != adapter_name(first[0])


def test_training_continues_from_the_champion_and_measures_against_it(first, train, tmp_path: Path) -> None:
    trained = train(tmp_path / "second", parent=first[0])
    assert trained.first_loss == pytest.approx(math.log(2), abs=1e-4)
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (first[0], tmp_path / "second"))
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    # It started where the champion ended, not from nothing: it is nearer to it than the champion is to zero.
    moved = sum(float((after[name] - before[name]).square().sum()) for name in before if "lora_B" in name)
    assert moved < sum(float(before[name].square().sum()) for name in before if "lora_B" in name) * 4


def test_weights_decide_between_pairs_that_contradict_each_other(train, tmp_path: Path) -> None:
    losses = {}
    for weight in (0.1, 1.0, 10.0):
        agreeing = examples.Preference(asked("?"), "within 14 days .", "no .", weight=weight)
        opposing = examples.Preference(asked("?"), "no .", "within 14 days .")
        trained = train(
            tmp_path / str(weight), pairs=[agreeing, opposing], changes={"sft_weight": 0.0, "epochs": 20, "collapse_nats": 99.0}
        )
        losses[weight] = trained.metrics["loss_last_step"]
    # What one pair gains the other loses: with equal weights ln 2 is the least that there is.
    assert losses[1.0] >= math.log(2) - 1e-6
    assert losses[0.1] < 0.67
    assert losses[10.0] < 0.67


def test_equal_weights_are_no_weights_however_large(first, train, tmp_path: Path) -> None:
    pairs = [examples.Preference(asked(n), "within 14 days .", "no .", weight=0.3) for n in ("?", "14 ?", "30 ?")]
    trained = train(tmp_path / "a", pairs=pairs)
    assert trained.metrics["loss_first_step"] == pytest.approx(first[1].metrics["loss_first_step"], rel=1e-5)


def test_nearly_equally_long_pairs_share_a_batch_and_nothing_is_lost(train, tmp_path: Path) -> None:
    trained = train(tmp_path / "a", changes={"group_by_length": True})
    assert trained.metrics["steps"] == 4
    assert trained.metrics["margin_after"] > 0.01


def test_early_stopping_keeps_the_best_checkpoint(train, tmp_path: Path) -> None:
    # The watched pairs say the opposite of the others: what is learned makes them worse.
    watched = Random(0).sample(range(8), 4)
    answers = ("within 14 days .", "no .")
    pairs = [
        examples.Preference(asked("14 " * n + "?"), *(reversed(answers) if n in watched else answers), name=f"p-{n}")  # type: ignore[misc]
        for n in range(8)
    ]
    changes = {"patience": 2, "validation_share": 0.5, "epochs": 10, "sft_weight": 0.0, "checkpoint_steps": 0}
    trained = train(tmp_path / "a", pairs=pairs, changes=changes)
    validation = [entry["eval_loss"] for entry in trained.history if "eval_loss" in entry]
    assert (trained.metrics["examples"], trained.metrics["validation_examples"]) == (4, 4)
    assert validation.index(min(validation)) == len(validation) - 3
    assert trained.metrics["steps"] == 2 * len(validation) < 20
    # What was kept is not what came last.
    margins = [entry["margin"] for entry in trained.history if "margin" in entry]
    assert trained.metrics["margin_after"] < margins[-1]


def test_too_few_examples_to_watch_are_an_error(train, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="early stopping needs 4 to watch"):
        train(tmp_path / "a", changes={"patience": 1})


def test_auto_is_worked_out_and_told(train, tmp_path: Path) -> None:
    changes = {"rank": "auto", "alpha": "auto", "target_modules": "auto", "rslora": True, "rank_pattern": {"q_proj": 4}}
    told = train(tmp_path / "a", changes=changes).chosen["lora"]
    assert (told["r"], told["lora_alpha"], told["use_rslora"], told["rank_pattern"]) == (8, 11, True, {"q_proj": 4})
    assert len({name.rpartition(".")[2] for name in told["target_modules"]}) == 7
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    assert {name.split(".")[-3]: tensor.shape[0] for name, tensor in tensors.items() if "lora_A" in name}["q_proj"] == 4
    # Continuing asks for no rank: it is the adapter's own.
    assert train(tmp_path / "b", parent=tmp_path / "a", changes=changes).chosen["lora"] == told


def test_named_modules_alone_are_trained(train, tmp_path: Path) -> None:
    train(tmp_path / "a", changes={"target_modules": ("q_proj", "v_proj")})
    names = load_file(tmp_path / "a" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in names} == {"q_proj", "v_proj"}


def test_bfloat16_starts_at_the_reference_too(train, tmp_path: Path) -> None:
    trained = train(tmp_path / "a", changes={"precision": "bfloat16"})
    assert trained.chosen["precision"] == "bfloat16"
    assert trained.first_loss == pytest.approx(math.log(2), abs=0.01)
    assert all(tensor.dtype == torch.float32 for tensor in load_file(tmp_path / "a" / "adapter_model.safetensors").values())
