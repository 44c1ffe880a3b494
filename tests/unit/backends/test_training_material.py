"""What the ledger offers to a run beside fresh pairs: what earlier runs taught, and answers without a counterpart."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from csqa_loop.backends.ledger import Ledger, pairs
from csqa_loop.cycle.run_rows import Demonstration, Unpaired
from csqa_loop.domain import events as e
from csqa_loop.domain.preferences import held_out
from tests import events as make

SECTION = next(name for name in map(str, range(100)) if not held_out("returns", name))
FIRST, SECOND, REFUSED = "a-0000000000000001", "a-0000000000000002", "a-0000000000000003"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger" / "ledger.duckdb")
    opened.open()
    yield opened
    opened.close()


def take(ledger: Ledger, *events: e.Event) -> None:
    ledger.take(make.batch(*events))


def run(number: int, champion: str, adapter: str, taken: list[str], *, replay: list[str] | None = None) -> tuple[e.Event, ...]:
    """A run that trained `adapter` from `champion`."""
    name = {"occurred_at": make.at(100 * number), "run_id": f"r-{number}", "attempt": 1}
    return (
        e.TrainingRequested(reason="due", champion=champion, pair_ids=taken, replay_pair_ids=replay or (), data_hash="x", **name),
        e.AdapterTrained(adapter=adapter, parent=champion, recipe_hash="", data_hash="x", pairs=len(taken), seconds=1, **name),
    )


def test_an_adapter_was_taught_what_its_line_was_and_no_other_runs_pairs(ledger: Ledger) -> None:
    said = [make.answer(n, section=SECTION, question=f"Case {n}?") for n in range(1, 6)]
    take(ledger, *said, *(make.bad_case(n, "30 days and 14.") for n in range(1, 6)))
    names = [pair.pair_id for pair in pairs.fresh_pairs(ledger.connection)]
    assert len(names) == 5
    take(
        ledger,
        *run(1, "base", FIRST, names[:1]),
        *run(2, "base", REFUSED, names[1:2]),
        *run(3, FIRST, SECOND, names[2:4], replay=names[:1]),
    )

    def taught(champion: str) -> list[str]:
        return [pair.pair_id for pair in pairs.taught_pairs(ledger.connection, champion)]

    assert taught("base") == []
    assert taught(FIRST) == names[:1]
    assert taught(SECOND) == [names[0], *names[2:4]]
    assert taught(REFUSED) == names[1:2]
    assert [pair.pair_id for pair in pairs.fresh_pairs(ledger.connection)] == names[4:]


def test_an_anchored_adapter_was_taught_what_it_repeats(ledger: Ledger) -> None:
    take(ledger, *(make.answer(n, section=SECTION) for n in (1, 2)), *(make.bad_case(n, "30 days and 14.") for n in (1, 2)))
    first, second = [pair.pair_id for pair in pairs.fresh_pairs(ledger.connection)]
    request, trained = run(2, FIRST, SECOND, [second], replay=[first])
    take(ledger, *run(1, "base", FIRST, [first]), request, trained.model_copy(update={"parent": "base"}))
    assert {pair.pair_id for pair in pairs.taught_pairs(ledger.connection, SECOND)} == {first, second}


def test_examples_are_offered_until_a_run_takes_them(ledger: Ledger) -> None:
    said = {"messages": (e.ChatMessage(role="user", content="Do you ship?"),), "operator": "ops", "origin": "faq.csv 0123456789ab row 7"}
    shown = e.ExampleImported(occurred_at=make.at(3), conversation_id="i-1", answer="We do.", category="dialogue", **said)
    liked = e.ExampleImported(occurred_at=make.at(4), conversation_id="i-2", answer="Yes.", liked=True, **said)
    kept = e.ExampleImported(occurred_at=make.at(5), conversation_id="i-3", answer="Sure.", split="holdout", **said)
    take(ledger, make.answer(1, section=SECTION), make.thumb(1, "up"), shown, liked, kept)
    found = pairs.fresh_examples(ledger.connection)
    assert [(one.example_id, one.liked, one.contributor, one.category) for one in found] == [
        ("m1", True, "", "returns"),
        ("i-1", None, "ops", "dialogue"),
        ("i-2", True, "ops", ""),
    ]
    thumb = Unpaired.of(found[0])
    assert (thumb.liked, thumb.source, thumb.evidence_event_id) == (True, "thumb", str(make.thumb(1).event_id))
    assert [message.content for message in Demonstration.of(found[1]).prompt] == ["Do you ship?"]
    assert json.loads(found[0].prompt)[0]["role"] == "system"

    request, _ = run(1, "base", FIRST, [])
    take(ledger, request.model_copy(update={"example_ids": ("m1", "i-1")}))
    assert [one.example_id for one in pairs.fresh_examples(ledger.connection)] == ["i-2"]
    assert [one.example_id for one in pairs.examples_by_id(ledger.connection, ["m1", "i-1"])] == ["m1", "i-1"]
