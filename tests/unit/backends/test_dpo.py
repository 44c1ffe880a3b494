"""DPO on a model so small that a step takes no time: what is checked, and that the checks can fail."""

import json
import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: E402

from csqa_loop.backends import dpo  # noqa: E402
from csqa_loop.cycle.adapters import adapter_name  # noqa: E402
from csqa_loop.domain.errors import PermanentError  # noqa: E402
from csqa_loop.settings import TrainingSettings  # noqa: E402

WORDS = ["<pad>", "<end>", "<user>", "<assistant>", "yes", "no", "may", "it", "be", "returned", "within", "days", "14", "30", "?", "."]
TEMPLATE = (
    "{% for m in messages %}<user> {{ m.content }} {% if m.role == 'assistant' %}<end>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<user> {% endif %}"
)
SETTINGS = TrainingSettings(epochs=2, learning_rate=1e-2, rank=2, alpha=8, batch_size=2, max_length=64)
PAIRS = [
    dpo.Preference([{"role": "user", "content": f"may it be returned {n}"}], "within 14 days .", "no .") for n in ("?", "14 ?", "30 ?")
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    vocabulary = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<pad>"))
    vocabulary.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=vocabulary, pad_token="<pad>", eos_token="<end>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def _train(base: str, folder: Path, *, parent: Path | None = None, settings: TrainingSettings = SETTINGS, pairs=PAIRS) -> dpo.Trained:
    scratch = folder.with_name(f"scratch-of-{folder.name}")
    return dpo.train(folder, base_model=base, parent=parent, pairs=pairs, settings=settings, scratch=scratch, on_step=lambda *_: None)


@pytest.fixture(scope="module")
def first(base: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dpo.Trained]:
    folder = tmp_path_factory.mktemp("first") / "adapter"
    steps: list[tuple[int, int, float | None]] = []
    trained = dpo.train(
        folder,
        base_model=base,
        parent=None,
        pairs=PAIRS,
        settings=SETTINGS,
        scratch=folder.parent / "scratch",
        on_step=lambda *s: steps.append(s),
    )
    assert [step[:2] for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    return folder, trained


def test_the_term_starts_at_ln_2_and_the_margin_grows(first: tuple[Path, dpo.Trained]) -> None:
    _, trained = first
    assert trained.first_loss == pytest.approx(math.log(2), abs=1e-4)
    assert trained.metrics["margin_before"] == pytest.approx(0.0, abs=1e-4)
    assert trained.metrics["margin_after"] > 0.01
    assert trained.metrics["dpo_term_after"] < trained.first_loss
    assert trained.metrics["pairs_used"] == 3


def test_an_adapter_is_two_files_for_this_base(first: tuple[Path, dpo.Trained], base: str) -> None:
    folder, _ = first
    assert sorted(file.name for file in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == base
    assert config["target_modules"] == sorted(config["target_modules"])
    assert not config["modules_to_save"]
    assert all("lora_" in name for name in load_file(folder / "adapter_model.safetensors"))


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(first: tuple[Path, dpo.Trained], base: str, tmp_path: Path) -> None:
    _train(base, tmp_path / "again")
    _train(base, tmp_path / "other", settings=SETTINGS.model_copy(update={"seed": 1}))
    assert adapter_name(tmp_path / "again") == adapter_name(first[0])
    assert adapter_name(tmp_path / "other") != adapter_name(first[0])


def test_training_continues_from_the_champion_and_measures_against_it(first: tuple[Path, dpo.Trained], base: str, tmp_path: Path) -> None:
    trained = _train(base, tmp_path / "second", parent=first[0])
    assert trained.first_loss == pytest.approx(math.log(2), abs=1e-4)
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (first[0], tmp_path / "second"))
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    # It started where the champion ended, not from nothing: it is nearer to it than the champion is to zero.
    moved = sum(float((after[name] - before[name]).square().sum()) for name in before if "lora_B" in name)
    assert moved < sum(float(before[name].square().sum()) for name in before if "lora_B" in name) * 4


def test_a_reference_that_is_not_the_policy_stops_the_run(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(trainer, batch_size) -> None:
        rows = trainer.train_dataset
        trainer.train_dataset = rows.add_column("ref_chosen_logps", [0.0] * len(rows)).add_column("ref_rejected_logps", [-9.0] * len(rows))
        trainer.precompute_ref_logps = True

    monkeypatch.setattr(dpo, "_precompute_reference", wrong)
    with pytest.raises(PermanentError, match="must be ln 2"):
        _train(base, tmp_path / "never")
    assert not (tmp_path / "never" / "adapter_config.json").exists()


def test_a_base_that_moves_stops_the_run(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = dpo._measure
    calls = []

    def meddling(trainer):
        calls.append(1)
        if len(calls) == 2:
            with torch.no_grad():
                trainer.model.get_base_model().model.norm.weight[0] += 1e-3
        return real(trainer)

    monkeypatch.setattr(dpo, "_measure", meddling)
    with pytest.raises(PermanentError, match="tensors of the base model changed"):
        _train(base, tmp_path / "never")


def test_an_adapter_that_stands_still_stops_the_run(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trl.DPOTrainer.train", lambda self: None)
    with pytest.raises(PermanentError, match="did not move"):
        _train(base, tmp_path / "never")


def test_a_loss_that_is_no_number_stops_the_run(base: str, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="a smaller learning rate may help"):
        _train(base, tmp_path / "never", settings=SETTINGS.model_copy(update={"learning_rate": 1e30, "epochs": 20}))


def test_prompts_that_do_not_fit_are_counted_and_none_left_is_an_error(base: str, tmp_path: Path) -> None:
    long = dpo.Preference([{"role": "user", "content": "may " * 100}], "yes .", "no .")
    assert _train(base, tmp_path / "some", pairs=[*PAIRS, long]).metrics["pairs_too_long"] == 1
    with pytest.raises(PermanentError, match=r"no prompt is shorter than training\.max_length = 64"):
        _train(base, tmp_path / "none", pairs=[long])


def test_a_champion_with_whole_modules_is_refused(first: tuple[Path, dpo.Trained], base: str, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    config = json.loads((first[0] / "adapter_config.json").read_text())
    (parent / "adapter_config.json").write_text(json.dumps(config | {"modules_to_save": ["lm_head"]}))
    with pytest.raises(PermanentError, match="modules_to_save"):
        _train(base, tmp_path / "never", parent=parent)


def test_a_placebo_of_the_base_changes_nothing(base: str, tmp_path: Path) -> None:
    trained = dpo.placebo(tmp_path / "p", base_model=base, parent=None, settings=SETTINGS, label="r-1")
    tensors = load_file(tmp_path / "p" / "adapter_model.safetensors")
    assert trained.first_loss is None
    assert all(not tensor.any() for name, tensor in tensors.items() if "lora_B" in name)
    assert any(tensor.any() for name, tensor in tensors.items() if "lora_A" in name)


def test_a_placebo_of_an_adapter_has_its_tensors_and_another_name(first: tuple[Path, dpo.Trained], base: str, tmp_path: Path) -> None:
    dpo.placebo(tmp_path / "p", base_model=base, parent=first[0], settings=SETTINGS, label="r-2")
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in (first[0], tmp_path / "p"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert adapter_name(tmp_path / "p") != adapter_name(first[0])
    with safe_open(tmp_path / "p" / "adapter_model.safetensors", framework="pt") as file:
        assert file.metadata()["placebo"] == "r-2"
