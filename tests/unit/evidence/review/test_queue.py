"""The review queue on real DuckDB: what is in it, in which order, and what one sees of an item."""

from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.errors import PermanentError
from csqa_loop.evidence.review.queue import QueueFilter, queue_page, whole_items
from csqa_loop.evidence.review.rules.items import QueuePage, WholeItem
from csqa_loop.evidence.rules.pairs import review_id_of
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.ledger import Ledger
from tests import events as make
from tests.ledgers import ledger_at

SECTION = "Returns > Footwear"
POLICY = "# Returns\n\n## Footwear\n\nBoots may be returned within {} days if the soles are clean, outlet boots within 14 days.\n"
PASSAGE = f"{SECTION}\nBoots may be returned within 45 days if the soles are clean, outlet boots within 14 days."
GOOD = "Boots may be returned within 45 days."


@pytest.fixture
def ledger(tmp_path: Path):
    opened = ledger_at(tmp_path / "ledger.duckdb")
    opened.open()
    opened.take(make.batch(make.policy(POLICY.format(45))))
    yield opened
    opened.close()


def asked(number: int, question: str = "How long may I return boots?", *, second: float = 0) -> e.AnswerGiven:
    citation = e.Citation(chunk_id="returns#0", policy_id="returns", version=policy_version(POLICY.format(45)), section=SECTION, score=0.9)
    messages = (e.ChatMessage(role="system", content=f"Policy:\n\n{PASSAGE}\n\nAnswer it."), e.ChatMessage(role="user", content=question))
    return make.answer(number, second=second, question=question, messages=messages, citations=(citation,))


def proposal(number: int, text: str = "Boots: 99 days.") -> e.AnswerProposed:
    return e.AnswerProposed(
        event_id=make.event_id(70_000 + number), occurred_at=make.at(5), conversation_id=f"c{number}", message_id=f"m{number}", method="resample",
        answer=text, adapter="base", judge_model="judge",
    )  # fmt: skip


def take(ledger: Ledger, *events: e.Event) -> None:
    ledger.take(make.batch(*events))


def page(ledger: Ledger, after: str = "", limit: int = 50, **asked_for: str) -> QueuePage:
    return queue_page(ledger.connection, QueueFilter(**asked_for), after=after, limit=limit)


def names(ledger: Ledger, **asked_for: str) -> list[str]:
    items = page(ledger, **asked_for).items
    return [item.message_id for item in whole_items(ledger.connection, [item.review_id for item in items])]


def one(ledger: Ledger, review_id: str) -> WholeItem:
    (item,) = whole_items(ledger.connection, [review_id])
    return item


def test_bad_cases_then_thumbs_then_held_pairs_each_oldest_first(ledger: Ledger) -> None:
    take(ledger, *(asked(number) for number in range(1, 7)))
    take(ledger, make.thumb(1, second=9), make.thumb(2, second=3), make.bad_case(3, None, second=8), make.bad_case(4, None, second=4))
    take(ledger, make.thumb(5), proposal(5))
    told = page(ledger)
    assert [item.reason for item in told.items] == ["wrong", "wrong", "thumb", "thumb", "held"]
    assert names(ledger) == ["m4", "m3", "m2", "m1", "m5"]
    assert told.counts == {"answer": 4, "pair": 1}


def test_pages_hold_every_item_once(ledger: Ledger) -> None:
    take(ledger, *(asked(number) for number in range(7)), *(make.thumb(number, second=number % 2) for number in range(7)))
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        told = page(ledger, after, 3)
        seen += [item.review_id for item in told.items]
        after = told.next
    assert seen == [item.review_id for item in page(ledger).items]
    assert len(set(seen)) == 7
    with pytest.raises(PermanentError, match="no cursor"):
        page(ledger, "rubbish")


def test_filters_and_search(ledger: Ledger) -> None:
    take(ledger, asked(1), make.thumb(1).model_copy(update={"comment": "Nobody HELPED me"}))
    take(ledger, asked(2, "May I return 冬靴?"), make.bad_case(2, None), asked(3), make.thumb(3), proposal(3))
    assert names(ledger, kind="pair") == ["m3"]
    assert names(ledger, reason="thumb") == ["m1"]
    assert names(ledger, fault="generation", text="冬靴") == ["m2"]
    assert names(ledger, text="helped") == ["m1"]
    assert names(ledger, text="99 days") == ["m3"]
    assert names(ledger, policy="returns", state="all") == ["m2", "m1", "m3"]
    assert names(ledger, text="100%") == []
    assert page(ledger, kind="pair").counts == {"answer": 2, "pair": 1}


def test_an_item_tells_what_the_model_read_and_what_is_said_about_it(ledger: Ledger) -> None:
    take(ledger, asked(1), make.thumb(1).model_copy(update={"comment": "No!"}), make.bad_case(1, None))
    item = one(ledger, review_id_of("answer", "m1"))
    (passage,) = item.retrieved
    assert (passage.policy_id, passage.section, passage.text, passage.current) == ("returns", SECTION, PASSAGE, True)
    assert (item.answer, item.conversation[-1]["content"]) == ("30 days.", "How long may I return boots?")
    assert [given.comment for given in item.feedback] == ["No!"]
    assert [(case.reviewer, case.reason) for case in item.bad_cases] == [("ann", "wrong")]
    assert (item.blame.fault, item.blame.basis) == ("generation", "question")
    take(ledger, make.policy(POLICY.format(60), second=100, number=2))
    assert [passage.current for passage in one(ledger, item.review_id).retrieved] == [False]


def test_a_correction_decides_and_reopening_opens_again(ledger: Ledger) -> None:
    take(ledger, asked(1), make.thumb(1), make.review(1, "correct", GOOD))
    assert (names(ledger), names(ledger, state="decided"), names(ledger, state="all")) == ([], ["m1"], ["m1"])
    item = one(ledger, review_id_of("answer", "m1"))
    assert [pair.state for pair in item.made] == ["fresh"]
    assert [(past.action, past.reviewer) for past in item.history] == [("correct", "bea")]
    assert (item.reason, item.fault) == ("thumb", "generation")
    take(ledger, make.review(1, "reopen", second=20))
    assert (names(ledger), names(ledger, state="decided")) == (["m1"], [])
    assert [pair.state for pair in one(ledger, item.review_id).made] == ["withdrawn"]


def test_a_rejected_answer_is_not_asked_again(ledger: Ledger) -> None:
    take(ledger, asked(1), make.thumb(1), make.review(1, "reject"))
    assert (names(ledger), names(ledger, state="decided")) == ([], ["m1"])
    take(ledger, make.review(1, "reopen", second=20))
    assert names(ledger) == ["m1"]


def test_a_better_answer_from_elsewhere_ends_an_item(ledger: Ledger) -> None:
    take(ledger, asked(1), make.thumb(1), proposal(1, GOOD))
    assert names(ledger, state="all") == []


def test_a_held_pair_shows_both_sides_and_its_rival(ledger: Ledger) -> None:
    take(ledger, asked(1), make.bad_case(1, GOOD), asked(2), make.bad_case(2, "Outlet boots may be returned within 14 days."))
    items = whole_items(ledger.connection, [item.review_id for item in page(ledger).items])
    assert [(item.kind, item.pair.state) for item in items] == [("pair", "held"), ("pair", "held")]
    first = next(item for item in items if item.pair.chosen == GOOD)
    assert first.pair.rival.chosen.startswith("Outlet boots")
    assert first.detail == f"contradiction: {first.pair.rival.pair_id} states other numbers"
    assert first.pair.rejected == "30 days."
    take(ledger, make.review(1, "reject", subject=first.pair.pair_id))
    assert (names(ledger), names(ledger, state="decided")) == ([], ["m1"])
    take(ledger, make.review(1, "reopen", subject=first.pair.pair_id, second=20))
    assert sorted(names(ledger)) == ["m1", "m2"]


def test_correcting_a_held_pair_replaces_its_chosen_answer(ledger: Ledger) -> None:
    take(ledger, asked(1), make.thumb(1), proposal(1))
    (item,) = whole_items(ledger.connection, [item.review_id for item in page(ledger).items])
    take(ledger, make.review(1, "correct", GOOD, subject=item.subject))
    after = one(ledger, item.review_id)
    assert (after.state, after.pair.state, [pair.state for pair in after.made]) == ("decided", "withdrawn", ["fresh"])
    assert names(ledger) == []


def test_a_held_import_has_no_chat(ledger: Ledger) -> None:
    example = e.ExampleImported(
        occurred_at=make.at(1), conversation_id="i-1", messages=(e.ChatMessage(role="user", content="Do you ship?"),), answer="Y", rejected="No.",
        operator="ops", origin="faq.csv 0123456789ab row 7",
    )  # fmt: skip
    take(ledger, example)
    (item,) = whole_items(ledger.connection, [item.review_id for item in page(ledger).items])
    assert (item.imported, item.conversation_id, item.question, item.answer) == (True, "i-1", "Do you ship?", "No.")
