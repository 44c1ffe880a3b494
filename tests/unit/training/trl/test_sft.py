"""A first SFT: demonstrations become likelier, and only the answer counts."""

from pathlib import Path

import pytest

from csqa_loop.training.trl.examples import Demonstrated
from tests.tiny_model import asked

DEMONSTRATIONS = [
    Demonstrated(asked(n), answer, f"d-{n}") for n, answer in (("?", "within 14 days ."), ("14 ?", "yes ."), ("30 ?", "within 30 days ."))
]


def test_demonstrations_become_likelier(train, tmp_path: Path) -> None:
    trained = train(tmp_path / "a", method="sft", demonstrations=DEMONSTRATIONS, pairs=(), changes={"epochs": 10})
    losses = [entry["loss"] for entry in trained.history if "loss" in entry]
    assert sum(losses[-2:]) < 0.98 * sum(losses[:2])
    assert trained.metrics["examples"] == 3
    assert trained.first_loss is None


@pytest.mark.parametrize("grouped", [False, True])
def test_short_answers_come_first_where_asked(train, tmp_path: Path, *, grouped: bool) -> None:
    # One example a step, so that the first step's loss tells which one it was.
    # Batches of equals would take them in another order.
    changes = {"batch_size": 1, "order": "easy_first", "learning_rate": 1e-3, "group_by_length": grouped}
    trained = train(tmp_path / "a", method="sft", demonstrations=DEMONSTRATIONS, pairs=(), changes=changes)
    alone = train(tmp_path / "b", method="sft", demonstrations=DEMONSTRATIONS[1:2], pairs=(), changes=changes)
    assert trained.metrics["loss_first_step"] == alone.metrics["loss_first_step"]


def test_an_sft_adapter_is_continued_by_preferences(train, tmp_path: Path) -> None:
    train(tmp_path / "sft", method="sft", demonstrations=DEMONSTRATIONS, pairs=())
    trained = train(tmp_path / "dpo", parent=tmp_path / "sft")
    assert trained.metrics["margin_after"] > trained.metrics["margin_before"]
