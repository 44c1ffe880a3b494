"""A label in place of personal data is never trained on, wherever the better answer comes from and whoever approves it."""

from collections.abc import Iterator
from itertools import islice, permutations
from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.evidence import pair_queries as pairs
from csqa_loop.evidence.rules.pairs import held_out
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.invariants import ledger_hash
from csqa_loop.ledger.rules.masking import masked_event
from csqa_loop.text.masking import NOTHING
from csqa_loop.text.vouching import vouched
from tests import events as make
from tests.ledgers import ledger_at

SECRET = b"secret"
SECTION = next(name for name in map(str, range(100)) if not held_out("returns", name))
OURS = "Call 0171 1234567 within 14 days."
POLICY = "Returns: 0171/1234567, within 14 days."
IMPORTED = {"occurred_at": make.at(5), "messages": (e.ChatMessage(role="user", content="Where?"),), "origin": "a.csv", "operator": "ann"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def by_the_gateway(number: int, text: str) -> e.BadCaseReported:
    told = vouched(SECRET, f"m{number}", (text,), NOTHING, [POLICY])
    return make.bad_case(number, told.masked(text)).model_copy(update={"stated": told.stated, "stated_proof": told.proof})


def take(ledger: Ledger, *events: e.Event) -> None:
    ledger.take(make.batch(*(masked_event(SECRET, event) for event in events)))


def states(ledger: Ledger) -> dict[str, tuple[str, list[str]]]:
    rows = ledger.connection.execute("SELECT chosen, state, held FROM pair_states").fetchall()
    return {chosen: (state, [reason.partition(":")[0] for reason in held]) for chosen, state, held in rows}


def test_the_companys_number_teaches_itself_and_a_label_teaches_nothing(ledger: Ledger) -> None:
    take(
        ledger,
        *(make.answer(n, section=SECTION) for n in (1, 2)),
        by_the_gateway(1, OURS),
        make.bad_case(2, "Ring 0171 7654321 within 14 days."),
    )
    assert states(ledger) == {OURS: ("fresh", []), "Ring [phone] within 14 days.": ("held", ["masked"])}
    assert [pair.chosen for pair in pairs.fresh_pairs(ledger.connection)] == [OURS]


def test_no_review_lets_a_label_pass_but_a_correction_replaces_it(ledger: Ledger) -> None:
    take(ledger, make.answer(1, section=SECTION), make.bad_case(1, "Ring 0171 7654321 within 14 days."))
    ((name,),) = ledger.connection.execute("SELECT pair_id FROM pairs").fetchall()
    take(ledger, make.review(1, "approve", subject=name))
    assert pairs.fresh_pairs(ledger.connection) == []
    take(ledger, make.review(1, "correct", "Ring the desk within 14 days.", second=20, subject=name))
    assert [pair.chosen for pair in pairs.fresh_pairs(ledger.connection)] == ["Ring the desk within 14 days."]


def test_liked_answers_and_demonstrations_with_a_label_are_held_and_disliked_ones_are_not(ledger: Ledger) -> None:
    said = "We ring you at [phone]."
    take(
        ledger,
        make.answer(1, section=SECTION, answer=said, question="Do you ring 0171 7654321?"),
        make.thumb(1, "up"),
        e.ExampleImported(conversation_id="i-1", answer=said, **IMPORTED),
        e.ExampleImported(conversation_id="i-2", answer=said, liked=True, **IMPORTED),
        e.ExampleImported(conversation_id="i-3", answer=said, liked=False, **IMPORTED),
        e.ExampleImported(conversation_id="i-4", answer="Within 14 days.", rejected=said, **IMPORTED),
    )
    assert ledger.connection.execute("SELECT example_id FROM training_examples ORDER BY 1").fetchall() == [("i-3",)]
    held = ledger.connection.execute("SELECT message_id, left(held[1], 7) FROM held_examples ORDER BY 1").fetchall()
    assert held == [("i-1", "masked:"), ("i-2", "masked:"), ("m1", "masked:")]
    assert states(ledger) == {"Within 14 days.": ("fresh", [])}


def test_the_ledger_is_the_same_whichever_topic_comes_first(tmp_path: Path) -> None:
    facts = (
        make.policy(POLICY),
        make.answer(1, section=SECTION),
        by_the_gateway(1, OURS),
        make.bad_case(2, OURS),
        make.answer(2, section=SECTION),
    )
    hashes = set()
    for number, order in enumerate(islice(permutations(facts), 0, None, 10)):
        ledger = ledger_at(tmp_path / f"{number}.duckdb")
        ledger.open()
        for place, fact in enumerate(order):
            ledger.take(make.batch(masked_event(SECRET, fact), first_offset=place))
        hashes.add(ledger_hash(ledger.connection))
        ledger.close()
    assert len(hashes) == 1
