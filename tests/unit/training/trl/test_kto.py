"""KTO: learns from answers without a counterpart, from where it should."""

from pathlib import Path

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.training.trl.examples import Preference, Rated
from tests.tiny_model import asked

RATED = [
    Rated(asked(f"14 {'? ' * n}"), "within 14 days ." if liked else "no .", liked, f"u-{n}-{liked}")
    for n in range(3)
    for liked in (True, False)
]
CHANGES = {"batch_size": 4}


def test_liked_answers_become_likelier_than_disliked_ones(train, tmp_path: Path) -> None:
    trained = train(tmp_path / "a", method="kto", rated=RATED, pairs=(), changes=CHANGES | {"epochs": 6})
    assert trained.metrics["margin_before"] == pytest.approx(0.0, abs=1e-4)
    assert trained.metrics["margin_after"] > 0.05
    assert trained.first_loss is None
    assert trained.metrics["steps"] == 12  # 6 answers, filled up to two batches of 4
    assert any("drift" in entry for entry in trained.history)


def test_both_sides_of_pairs_are_rated_answers_too(train, first, tmp_path: Path) -> None:
    pairs = [Preference(asked(n), "within 14 days .", "no .") for n in ("?", "14 ?")]
    trained = train(tmp_path / "a", method="kto", pairs=pairs, parent=first[0], changes=CHANGES)
    assert trained.metrics["margin_before"] == pytest.approx(0.0, abs=1e-4)
    assert trained.metrics["examples"] == 4


@pytest.mark.parametrize(
    ("rated", "changes", "message"),
    [
        (RATED, {"batch_size": 2}, "needs at least 4"),
        (RATED[:2], CHANGES, "1 liked and 1 disliked answers"),
        ([answer for answer in RATED if answer.liked] * 2, CHANGES, "6 liked and 0 disliked answers"),
    ],
)
def test_what_kto_cannot_work_with_is_an_error(train, tmp_path: Path, rated, changes, message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        train(tmp_path / "a", method="kto", rated=rated, pairs=(), changes=changes)


def test_a_reference_that_is_not_the_policy_stops_the_run(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from csqa_loop.training.trl import kto

    real = kto.ReferencedKTOTrainer.compute_ref_log_probs
    shift = {True: 0.0, False: 9.0}

    def wrong(self, model, batch):
        own, other = real(self, model, batch)
        return own + own.new_tensor([shift[bool(label)] for label in batch["label"]]), other

    monkeypatch.setattr(kto.ReferencedKTOTrainer, "compute_ref_log_probs", wrong)
    with pytest.raises(PermanentError, match="the reward margin before step 1"):
        train(tmp_path / "a", method="kto", rated=RATED, pairs=(), changes=CHANGES)
