"""From complaints to pairs, on real DuckDB: which become pairs, which do not, and that order never matters."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop import events as e
from csqa_loop.evidence import pair_queries as pairs
from csqa_loop.evidence.rules.pairs import PairPolicy, held_out, pair_id_of
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.invariants import check, ledger_hash
from tests import events as make
from tests.ledgers import ledger_at

BOOTS = "# Returns\n\n## Footwear\n\nBoots may be returned within {} days if the soles are clean.\n"
RADIOS = "# Radios\n\n## Repairs\n\nA radio is repaired within {} working days.\n"
SECTION = "Returns > Footwear"
assert not held_out("returns", SECTION)


@pytest.fixture
def ledger(tmp_path: Path):
    opened = ledger_at(tmp_path / "ledger" / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def asked(number: int, text: str = BOOTS.format(45), *, second: float = 0, **fields: Any) -> e.AnswerGiven:
    """An answer about boots, whose prompt held this version of the policy."""
    quote = e.Citation(chunk_id="returns#0", policy_id="returns", version=policy_version(text), section=SECTION, score=0.9)
    messages = (
        e.ChatMessage(role="system", content=f"Policy:\n\n{text}"),
        e.ChatMessage(role="user", content="How long may I return boots?"),
    )
    body = {"question": "How long may I return boots?", "messages": messages, "citations": (quote,), "answer": "30 days."} | fields
    return make.answer(number, second=second, **body)


def take(ledger: Ledger, *events: e.Event) -> None:
    ledger.take(make.batch(*events))


def faults(ledger: Ledger) -> list[tuple[str, str]]:
    return ledger.connection.execute("SELECT message_id, fault FROM blames ORDER BY message_id, occurred_at").fetchall()


def states(ledger: Ledger) -> dict[str, str]:
    return dict(ledger.connection.execute("SELECT chosen, state FROM pair_states").fetchall())


GOOD = "Boots may be returned within 45 days."


def test_only_faults_of_generation_become_pairs(ledger: Ledger) -> None:
    take(ledger, make.policy(BOOTS.format(45)), make.policy(RADIOS.format(8), policy_id="radios", number=1))
    take(ledger, asked(1), make.bad_case(1, GOOD))
    take(ledger, asked(2, question="How fast is a repair?"), make.bad_case(2, "A radio is repaired within 8 working days."))
    take(ledger, asked(3), make.bad_case(3, "Boots may be returned within 90 days."))
    take(ledger, asked(4, source="cache"), make.bad_case(4, GOOD))
    assert faults(ledger) == [("m1", "generation"), ("m2", "retrieval_miss"), ("m3", "stale_policy"), ("m4", "not_the_model")]
    assert states(ledger) == {GOOD: "fresh"}


def test_without_grounding_every_correction_of_the_model_counts(tmp_path: Path) -> None:
    trusting = ledger_at(tmp_path / "l.duckdb", PairPolicy(grounding=False))
    trusting.open()
    take(trusting, make.policy(BOOTS.format(45)), asked(3), make.bad_case(3, "Boots may be returned within 90 days."))
    assert list(states(trusting).values()) == ["fresh"]
    trusting.close()


def test_a_changed_policy_quarantines_its_pairs_and_its_return_frees_them(ledger: Ledger) -> None:
    take(ledger, make.policy(BOOTS.format(45)), asked(1), make.bad_case(1, GOOD))
    take(ledger, make.policy(BOOTS.format(60), second=100, number=2))
    assert states(ledger) == {GOOD: "quarantined"}
    assert pairs.fresh_pairs(ledger.connection) == []
    take(ledger, make.policy(BOOTS.format(45), second=200, number=3))
    assert states(ledger) == {GOOD: "fresh"}
    take(ledger, e.PolicyWithdrawn(occurred_at=make.at(300), policy_id="returns"))
    assert states(ledger) == {GOOD: "quarantined"}


def test_a_lone_thumb_opens_a_review_and_makes_no_pair(ledger: Ledger) -> None:
    take(ledger, make.policy(BOOTS.format(45)), asked(1), make.thumb(1), asked(2), make.thumb(2, "up"))
    assert pairs.pair_counts(ledger.connection)["total"] == 0
    rows = ledger.connection.execute("SELECT kind, message_id, reason, fault FROM review_items").fetchall()
    assert rows == [("answer", "m1", "thumb", "generation")]


def test_a_review_makes_the_pair_and_reopening_takes_it_back(ledger: Ledger) -> None:
    take(ledger, make.policy(BOOTS.format(45)), asked(1), make.thumb(1), make.review(1, "correct", GOOD))
    (pair,) = pairs.fresh_pairs(ledger.connection)
    assert (pair.source, pair.weight, pair.contributor, pair.chosen, pair.rejected) == ("review", 1.0, "bea", GOOD, "30 days.")
    take(ledger, make.review(1, "reopen", second=20))
    assert states(ledger) == {GOOD: "withdrawn"}
    again = "Boots with clean soles may be returned within 45 days."
    take(ledger, make.review(1, "correct", again, second=30))
    assert states(ledger) == {GOOD: "withdrawn", again: "fresh"}


def test_two_corrections_that_state_other_numbers_wait_for_a_person(ledger: Ledger) -> None:
    both = "# Returns\n\n## Footwear\n\nBoots may be returned within 45 days, outlet boots within 14 days.\n"
    other = "Outlet boots may be returned within 14 days."
    take(ledger, make.policy(both), asked(1, both), make.bad_case(1, GOOD), asked(2, both), make.bad_case(2, other))
    assert states(ledger) == {GOOD: "held", other: "held"}
    wrong = pair_id_of(str(asked(2, both).event_id), str(make.bad_case(2).event_id))
    take(ledger, make.review(2, "reject", subject=wrong))
    assert states(ledger) == {GOOD: "fresh", other: "withdrawn"}
    take(ledger, make.review(2, "reopen", subject=wrong, second=20))
    assert states(ledger) == {GOOD: "held", other: "held"}
    take(ledger, make.review(2, "approve", subject=wrong, second=30))
    assert states(ledger) == {GOOD: "held", other: "fresh"}


def votes(first: int, way: str, count: int, answer: str) -> list[e.Event]:
    said: list[e.Event] = []
    for number in range(first, first + count):
        said += [asked(number, answer=answer), make.thumb(number, way)]
    return said


def test_two_rated_answers_to_the_same_messages_are_a_pair(ledger: Ledger) -> None:
    take(ledger, make.policy(BOOTS.format(45)), *votes(1, "up", 2, GOOD), *votes(10, "down", 1, "30 days."))
    assert pairs.fresh_pairs(ledger.connection) == []
    take(ledger, *votes(20, "down", 1, "30 days."))
    (pair,) = pairs.fresh_pairs(ledger.connection)
    assert (pair.source, pair.chosen, pair.rejected, pair.weight) == ("rated", GOOD, "30 days.", 0.5)
    take(ledger, *votes(30, "up", 5, "30 days."))
    assert pairs.fresh_pairs(ledger.connection) == []


def test_a_group_that_votes_a_good_answer_down_trains_nothing(ledger: Ledger) -> None:
    take(ledger, make.policy(BOOTS.format(45)), *votes(1, "down", 9, GOOD), *votes(20, "up", 9, "Boots may be returned within 365 days."))
    (pair,) = pairs._pairs(ledger.connection, "true")
    assert states(ledger) == {pair.chosen: "held"}
    assert pair.held == ("unsupported: states 365, which the prompt does not",)


def test_what_a_model_proposed_must_stand_in_the_prompt(ledger: Ledger) -> None:
    proposal = {"conversation_id": "c1", "message_id": "m1", "method": "resample", "adapter": "base", "judge_model": "judge"}
    take(ledger, make.policy(BOOTS.format(45)), asked(1), make.thumb(1))
    take(ledger, e.AnswerProposed(occurred_at=make.at(5), answer=GOOD, **proposal))
    take(ledger, e.AnswerProposed(occurred_at=make.at(6), answer="Boots: 99 days.", **proposal))
    assert states(ledger) == {GOOD: "fresh", "Boots: 99 days.": "held"}
    assert ledger.connection.execute("SELECT kind FROM review_items").fetchall() == [("pair",)]


def test_imported_pairs_trace_to_their_file(ledger: Ledger) -> None:
    body = {"messages": (e.ChatMessage(role="user", content="Do you ship?"),), "operator": "ops", "origin": "faq.csv 0123456789ab row 7"}
    trained = e.ExampleImported(occurred_at=make.at(1), conversation_id="i-1", answer="Yes, abroad too.", rejected="No.", **body)
    kept = e.ExampleImported(occurred_at=make.at(1), conversation_id="i-2", answer="We do.", rejected="Never.", split="holdout", **body)
    shown = e.ExampleImported(occurred_at=make.at(1), conversation_id="i-3", answer="We do.", **body)
    take(ledger, trained, kept, shown)
    assert states(ledger) == {"Yes, abroad too.": "fresh", "We do.": "held_out"}
    assert all(finding.holds for finding in check(ledger.connection, champion="base"))


def test_the_same_example_from_another_file_is_the_same_example(ledger: Ledger) -> None:
    body = {
        "messages": (e.ChatMessage(role="user", content="Do you ship?"),),
        "operator": "ops",
        "event_id": make.event_id(7),
        "conversation_id": "i-1",
    }
    take(ledger, e.ExampleImported(occurred_at=make.at(1), answer="Yes.", rejected="No.", origin="a.csv", **body))
    take(ledger, e.ExampleImported(occurred_at=make.at(9), answer="Yes.", rejected="No.", origin="b.csv", **body))
    assert states(ledger) == {"Yes.": "fresh"}
    assert ledger.connection.execute("SELECT count(*) FROM dead_letters").fetchone() == (0,)


def test_a_pair_that_later_blame_takes_away_keeps_its_trace(ledger: Ledger) -> None:
    take(ledger, asked(1), make.bad_case(1, "Boots may be returned within 90 days."))
    (pair,) = pairs.fresh_pairs(ledger.connection)
    take(ledger, e.TrainingRequested(
        occurred_at=make.at(9), run_id="r", attempt=1, reason="x", champion="base", pair_ids=(pair.pair_id,), data_hash="x",
        sources=((pair.pair_id, pair.answer_event_id, pair.evidence_event_id),),
    ))  # fmt: skip
    take(ledger, make.policy(BOOTS.format(45)))
    assert pairs.pair_counts(ledger.connection)["total"] == 0
    assert all(finding.holds for finding in check(ledger.connection, champion="base"))


def test_other_settings_derive_everything_anew(tmp_path: Path) -> None:
    file = tmp_path / "l.duckdb"
    first = ledger_at(file)
    first.open()
    take(
        first, make.policy(BOOTS.format(45)), asked(3), make.bad_case(3, "Boots may be returned within 90 days."), *votes(10, "up", 2, GOOD)
    )
    before = ledger_hash(first.connection)
    first.close()
    trusting = ledger_at(file, PairPolicy(grounding=False))
    trusting.open()
    assert pairs.pair_counts(trusting.connection)["fresh"] == 1
    trusting.close()
    first.open()
    assert ledger_hash(first.connection) == before
    first.close()


def story() -> list[e.Event]:
    events: list[e.Event] = [make.policy(BOOTS.format(45)), make.policy(BOOTS.format(60), second=50, number=2)]
    for number in range(1, 7):
        events += [asked(number, BOOTS.format(45 if number % 2 else 60), second=20 * number), make.thumb(number, second=20 * number + 1)]
    events += [
        make.bad_case(1, GOOD, second=30),
        make.bad_case(2, "Boots: 60 days.", second=300),
        make.bad_case(3, "Boots: 14 days.", second=301),
    ]
    events += [make.review(4, "correct", "Boots may be returned within 60 days.", second=90), make.review(4, "reopen", second=95)]
    events += [make.thumb(5, "up", second=400, identity=77), *votes(10, "down", 2, "30 days."), *votes(20, "up", 2, GOOD)]
    return events


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_derived_tables_do_not_depend_on_the_order_between_keys(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance = random.Random(seed)
    hashes = set()
    for order in ("told", "shuffled"):
        ledger = ledger_at(tmp_path_factory.mktemp("order") / "ledger.duckdb")
        ledger.open()
        events = story()
        if order == "shuffled":
            events += chance.sample(events, 5)
            events = make.interleaved(events, chance)
        while events:
            size = chance.randint(1, 7)
            take(ledger, *events[:size])
            events = events[size:]
        hashes.add(ledger_hash(ledger.connection))
        ledger.derivation.rebuild()
        hashes.add(ledger_hash(ledger.connection))
        ledger.close()
    assert len(hashes) == 1
