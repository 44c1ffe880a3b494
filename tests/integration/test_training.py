"""The training job on the packaged model: it learns, and only the adapter does."""

import hashlib
import json
import math
from pathlib import Path

import pytest

pytest.importorskip("trl")

from safetensors.torch import load_file

from csqa_loop.local.base_model import prepare
from csqa_loop.settings import Settings
from csqa_loop.training.adapters import adapter_name
from jobs import train_adapter
from tests.run_directories import pair, write_run

ROOT = Path(__file__).parents[2]
PAIRS = [
    pair(
        number,
        question=f"How long may I keep a {thing} before I return it?",
        policy=f"A {thing} may be returned within {days} days.",
        chosen=f"You may return a {thing} within {days} days.",
        rejected="You can keep it for as long as you like, and we will gladly take it back at any time.",
    )
    for number, (thing, days) in enumerate([("lamp", 14), ("rope", 21), ("sail", 30), ("radio", 7)])
]
TRAINING = {"epochs": 2, "batch_size": 2, "rank": 4, "alpha": 16, "learning_rate": 5e-4, "max_length": 256}


@pytest.fixture(scope="module")
def base() -> str:
    return prepare(Settings(var=ROOT / "var"))


@pytest.mark.timeout(600)
def test_the_job_learns_and_the_next_run_continues_from_its_adapter(base: str, tmp_path: Path) -> None:
    weights = Path(base) / "model.safetensors"
    before = hashlib.sha256(weights.read_bytes()).hexdigest()
    run = write_run(tmp_path / "runs", "r-1", pairs=PAIRS, base_model=base, training=TRAINING)
    assert train_adapter.main([str(run.path)]) == 0

    manifest = run.manifest()
    assert manifest is not None
    assert manifest.first_loss == pytest.approx(math.log(2), abs=0.01)
    assert manifest.metrics["margin_after"] > manifest.metrics["margin_before"] + 0.1
    assert manifest.metrics["loss_last_step"] < manifest.metrics["loss_first_step"]
    assert [source.pair_id for source in manifest.pairs] == [p.pair_id for p in PAIRS]
    assert {"torch", "trl", "peft", "transformers"} <= set(manifest.versions)
    assert run.last_step().step == 4
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == before

    folder = tmp_path / "adapters" / manifest.adapter
    assert adapter_name(folder) == manifest.adapter
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == base
    learned = load_file(folder / "adapter_model.safetensors")
    assert len(learned) == 2 * 7 * 30  # A and B of every linear layer
    assert all(tensor.any() for name, tensor in learned.items() if "lora_B" in name)  # B starts at zero

    follow = write_run(
        tmp_path / "runs", "r-2", pairs=PAIRS[:2], champion=manifest.adapter, base_model=base, training=TRAINING | {"epochs": 1}
    )
    assert train_adapter.main([str(follow.path)]) == 0
    second = follow.manifest()
    assert second is not None
    assert (second.parent, second.first_loss) == (manifest.adapter, pytest.approx(math.log(2), abs=0.01))
    assert second.adapter != manifest.adapter
