"""Which pairs there are, and which of them may be trained on."""

from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.evidence import pair_queries as pairs
from csqa_loop.evidence.rules.pairs import held_out
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.invariants import check
from tests import events as make
from tests.ledgers import ledger_at

SECTION = next(name for name in map(str, range(100)) if not held_out("returns", name))


@pytest.fixture
def ledger(tmp_path: Path):
    opened = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


@pytest.mark.parametrize("correction_first", [True, False])
def test_a_correction_may_come_before_its_answer(ledger: Ledger, *, correction_first: bool) -> None:
    events = [make.bad_case(1), make.answer(1)]
    for event in events if correction_first else events[::-1]:
        ledger.take(make.batch(event))
    assert ledger.connection.execute("SELECT chosen, rejected, message_id FROM pairs").fetchall() == [("14 days.", "30 days.", "m1")]


def test_what_the_model_did_not_write_makes_no_pair(ledger: Ledger) -> None:
    ledger.take(
        make.batch(
            make.answer(1, source="refusal"),
            make.bad_case(1),
            make.answer(2),
            make.bad_case(2, None),
            make.answer(3),
            make.bad_case(3, "30 DAYS"),
        )
    )
    assert pairs.pair_counts(ledger.connection)["total"] == 0


def test_held_out_pairs_are_never_offered_for_training(ledger: Ledger) -> None:
    for number in range(60):
        ledger.take(make.batch(make.answer(number, section=f"section {number}"), make.bad_case(number)))
    fresh, kept = pairs.fresh_pairs(ledger.connection), pairs.holdout_pairs(ledger.connection)
    assert kept
    assert len(fresh) + len(kept) == 60
    assert all(held_out(pair.policy_id, pair.section) for pair in kept)
    assert not any(held_out(pair.policy_id, pair.section) for pair in fresh)


def test_a_claimed_pair_is_not_fresh_any_more(ledger: Ledger) -> None:
    ledger.take(make.batch(make.answer(1, section=SECTION), make.bad_case(1), make.answer(2, section=SECTION), make.bad_case(2)))
    first, second = pairs.fresh_pairs(ledger.connection)
    request = e.TrainingRequested(
        occurred_at=make.at(9), run_id="r-1", attempt=1, reason="test", champion="base", pair_ids=(first.pair_id,), data_hash="x"
    )
    ledger.take(make.batch(request))
    assert pairs.fresh_pairs(ledger.connection) == [second]
    assert all(finding.holds for finding in check(ledger.connection, champion="base"))
