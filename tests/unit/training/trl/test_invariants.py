"""Everything that stops a training, tripped."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from csqa_loop.errors import PermanentError, UnfitError
from csqa_loop.training.trl import base as bases
from csqa_loop.training.trl import dpo, examples, lora
from csqa_loop.training.trl.watch import Watch
from tests import tiny_model
from tests.tiny_model import asked


def _nothing_was_written(folder: Path) -> bool:
    return not (folder / "adapter_config.json").exists()


def test_a_reference_that_is_not_the_policy(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self, model, rows):
        return rows.add_column("ref_chosen_logps", [0.0] * len(rows)).add_column("ref_rejected_logps", [-9.0] * len(rows))

    monkeypatch.setattr(dpo.WeightedDPOTrainer, "_with_reference", wrong)
    with pytest.raises(PermanentError, match="must be ln 2"):
        train(tmp_path / "never")
    assert _nothing_was_written(tmp_path / "never")


def test_a_margin_before_the_first_step() -> None:
    from csqa_loop.training.trl import invariants

    with pytest.raises(PermanentError, match="the reward margin before step 1 is 0.0300"):
        invariants.starts_at_the_reference(invariants.LN2, 0.03)


def test_a_base_that_moves(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = dpo.WeightedDPOTrainer.measure, []

    def meddling(self):
        calls.append(1)
        if len(calls) == 2:
            with torch.no_grad():
                self.model.get_base_model().model.norm.weight[0] += 1e-3
        return real(self)

    monkeypatch.setattr(dpo.WeightedDPOTrainer, "measure", meddling)
    with pytest.raises(PermanentError, match="tensors of the base model changed"):
        train(tmp_path / "never")
    assert _nothing_was_written(tmp_path / "never")


def test_an_adapter_that_stands_still(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def idle(self, **_):
        self.state.log_history = [{"loss": 1.0}]

    monkeypatch.setattr("trl.DPOTrainer.train", idle)
    with pytest.raises(PermanentError, match="did not move"):
        train(tmp_path / "never")


def test_a_loss_that_is_no_number(train, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="a smaller learning rate may help"):
        train(tmp_path / "never", changes={"learning_rate": 1e30, "epochs": 20, "collapse_nats": 1e30})


def test_chosen_answers_that_become_unlikely(train, tmp_path: Path) -> None:
    # A negative weight teaches the opposite of every chosen answer.
    changes = {"sft_weight": -5.0, "epochs": 20, "collapse_nats": 0.05}
    with pytest.raises(PermanentError, match="nats a token against the reference, and training.collapse_nats allows 0.05"):
        train(tmp_path / "never", changes=changes)
    assert _nothing_was_written(tmp_path / "never")


def test_a_collapse_is_judged_over_some_steps() -> None:
    watch = Watch(tiny_model.settings(collapse_nats=1.0), lambda *_: None)
    state = SimpleNamespace(global_step=7, max_steps=9)
    for drift in (0.0, 0.0, -4.0, 0.0, 0.0, 0.0):
        watch.on_log(None, state, None, {"loss": 1.0, "drift": drift})
    watch.on_log(None, state, None, {"loss": 1.0, "drift": -1.0})
    with pytest.raises(PermanentError, match="by step 7 the chosen answers have lost 1.20 nats a token"):
        watch.on_log(None, state, None, {"loss": 1.0, "drift": -5.0})


def test_an_example_that_is_too_long(train, tmp_path: Path) -> None:
    long = examples.Preference(asked("14 " * 40), "yes .", "no .", name="p-long")
    with pytest.raises(
        UnfitError, match=r"1 of 2 examples are longer than training.max_length = 32, p-long with 49 tokens; raise it"
    ) as unfit:
        train(tmp_path / "never", pairs=[long, examples.Preference(asked("?"), "yes .", "no .")], changes={"max_length": 32})
    assert unfit.value.names == ("p-long",)
    assert train(tmp_path / "fits", pairs=[long]).chosen["max_length"] == 64
    longer = examples.Preference(asked("14 " * 70), "yes .", "no .", name="p-longer")
    with pytest.raises(PermanentError, match="longer than the model's window of 64 tokens, p-longer"):
        train(tmp_path / "never", pairs=[longer])


@pytest.fixture
def parent(first, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first[0], tmp_path / "parent"))


def _edit(folder: Path, **changes: object) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_champion_with_whole_modules(train, parent: Path, tmp_path: Path) -> None:
    _edit(parent, modules_to_save=["lm_head"])
    with pytest.raises(PermanentError, match="modules_to_save"):
        train(tmp_path / "never", parent=parent)


def test_a_champion_that_is_no_lora(train, parent: Path, tmp_path: Path) -> None:
    _edit(parent, peft_type="IA3")
    with pytest.raises(PermanentError, match="must be a LoRA adapter"):
        train(tmp_path / "never", parent=parent)


def test_a_champion_of_another_rank(train, parent: Path, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"has rank 2 and training.rank is 4; set 2 or auto, or train in mode anchored"):
        train(tmp_path / "never", parent=parent, changes={"rank": 4})
    _edit(parent, r=3)
    with pytest.raises(PermanentError, match="holds tensors of rank 2; its adapter_config.json says 3"):
        train(tmp_path / "never", parent=parent, changes={"rank": "auto"})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"alpha": 16}, "has alpha 8 and training.alpha is 16; set 8 or auto"),
        ({"rslora": True}, "has rslora False and training.rslora is True; set false"),
        ({"rank_pattern": {"q_proj": 4}}, "has rank_pattern {} and training.rank_pattern is"),
        (
            {"target_modules": ("q_proj",)},
            r"is on model\.layers\.0\.mlp\.down_proj, and training.target_modules is .* \(12 modules differ\)",
        ),
    ],
)
def test_a_champion_of_another_shape(train, parent: Path, tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(PermanentError, match=f"{told}.*or train in mode anchored"):
        train(tmp_path / "never", parent=parent, changes=changes)


def test_a_champion_with_what_no_setting_makes(train, parent: Path, tmp_path: Path) -> None:
    _edit(parent, use_dora=True)
    with pytest.raises(PermanentError, match="has use_dora, which no setting here makes"):
        train(tmp_path / "never", parent=parent)


def test_a_champion_keeps_its_shape_where_settings_leave_it_open(train, parent: Path, tmp_path: Path) -> None:
    train(tmp_path / "second", parent=parent, changes={"rank": "auto", "alpha": "auto", "target_modules": "auto", "dropout": 0.1})
    made = lora.plain_config(tmp_path / "second")
    assert (made["r"], made["lora_alpha"], made["lora_dropout"]) == (2, 8, 0.1)
    names = tuple(made["target_modules"])
    train(tmp_path / "third", parent=parent, changes={"target_modules": names})


@pytest.mark.parametrize(
    ("key", "told"), [("q_prj", "matches no module that the adapter goes on; those end in down_proj"), ("(", "no pattern")]
)
def test_a_pattern_that_matches_nothing(train, tmp_path: Path, key: str, told: str) -> None:
    with pytest.raises(PermanentError, match=f"training.rank_pattern has the key .*{told}"):
        train(tmp_path / "never", changes={"rank_pattern": {key: 4}})
    assert train(tmp_path / "a", changes={"rank_pattern": {"q_proj": 4}}).chosen["lora"]["rank_pattern"] == {"q_proj": 4}


def test_one_step_is_enough_for_a_fresh_adapter(train, tmp_path: Path) -> None:
    assert train(tmp_path / "a", changes={"batch_size": 4, "epochs": 1}).metrics["steps"] == 1
    tensors = load_file(tmp_path / "a" / lora.TENSORS_FILE)
    assert all(tensor.any() for name, tensor in tensors.items() if "lora_B" in name)


def test_a_base_that_is_not_the_one_that_was_requested(train, base: str, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"has the fingerprint [0-9a-f]{16}, and the run was requested on ffff"):
        train(tmp_path / "never", fingerprint="f" * 64)
    train(tmp_path / "a", fingerprint=bases.identify(base).fingerprint)


def test_a_champion_of_another_base(train, parent: Path, tmp_path: Path) -> None:
    other = tiny_model.make(tmp_path / "other", seed=1)
    with pytest.raises(PermanentError, match="the base is another one, or it changed under the same name"):
        train(tmp_path / "never", parent=parent, base_model=other)
    # An adapter from elsewhere says nothing but a name.
    save_file(load_file(parent / lora.TENSORS_FILE), parent / lora.TENSORS_FILE, {"format": "pt"})
    with pytest.raises(PermanentError, match=r"belongs to the base .*; this run is for .*other"):
        train(tmp_path / "never", parent=parent, base_model=other)


def test_the_same_base_in_another_place(train, parent: Path, base: str, tmp_path: Path) -> None:
    moved = str(shutil.copytree(base, tmp_path / "moved"))
    assert bases.identify(moved).fingerprint == bases.identify(base).fingerprint
    train(tmp_path / "second", parent=parent, base_model=moved)


def test_a_champion_in_another_format(train, parent: Path, tmp_path: Path) -> None:
    (parent / lora.TENSORS_FILE).write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(PermanentError, match="is no safetensors file"):
        train(tmp_path / "never", parent=parent)


def test_a_base_in_another_format(base: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "base"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PermanentError, match="has no safetensors"):
        bases.identify(str(folder))


def test_a_base_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "cached_file", lambda *_: (_ for _ in ()).throw(OSError("no such model")))
    with pytest.raises(PermanentError, match="neither a folder nor on this machine: no such model"):
        bases.identify("nobody/nothing")


def test_four_bits_without_a_gpu(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PermanentError, match=r"4bit, which needs a CUDA GPU and bitsandbytes, not found here"):
        train(tmp_path / "never", changes={"quantization": "4bit"})
