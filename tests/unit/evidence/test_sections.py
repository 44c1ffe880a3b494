"""An edit puts out of date what rests on the sections that it touched, and nothing else."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop import events as e
from csqa_loop.evidence.rules.pairs import PairPolicy
from csqa_loop.knowledge.rules.passages import section_digests
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.invariants import ledger_hash
from tests import events as make
from tests.ledgers import ledger_at
from tests.logs import Log, take

SECTIONS = ("Laptops", "Shirts", "Boots", "Gifts")
POLICY = PairPolicy(grounding=False)


def document(sections: dict[str, str]) -> str:
    return "# Returns\n\n" + "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items()) + "\n"


def answered(number: int, section: str, version: str, second: float) -> list[e.Event]:
    citation = e.Citation(chunk_id=f"returns@{version}#0", policy_id="returns", version=version, section=f"Returns > {section}", score=0.8)
    question = f"What about {section}, case {number}?"
    return [
        make.answer(number, second=second, citations=(citation,), question=question, answer=f"Please ask about {section}."),
        make.bad_case(number, second=second + 1),
    ]


def states(ledger: Ledger) -> dict[str, bool]:
    """Message -> whether its pair is out of date."""
    return dict(ledger.connection.execute("SELECT message_id, outdated FROM pair_states").fetchall())


def holding(tmp_path: Path, *events: e.Event) -> Ledger:
    log = Log()
    for number, event in enumerate(events):
        log.write(event, 2 * number)
    ledger = ledger_at(tmp_path / "ledger.duckdb", POLICY)
    ledger.open()
    take(ledger, log.records, random.Random(1))
    return ledger


FIRST = {name: f"{name} can be sent back within {10 + number} days." for number, name in enumerate(SECTIONS)}


def edited(text: str, number: int) -> e.PolicyPublished:
    return make.policy(text, second=100 + number, number=number)


@given(
    edits=st.lists(
        st.dictionaries(st.sampled_from(SECTIONS), st.sampled_from(["edit", "drop", "rename", "space"]), max_size=3), min_size=1, max_size=3
    )
)
@settings(max_examples=25, deadline=None)
def test_only_the_touched_sections_pairs_are_put_aside(edits: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    now = dict(FIRST)
    events: list[e.Event] = [edited(document(FIRST), 0)]
    version = policy_version(document(FIRST))
    for number, name in enumerate(SECTIONS, start=1):
        events += answered(number, name, version, 0)
    for place, edit in enumerate(edits, start=1):
        for name, what in edit.items():
            heading = next((heading for heading in now if heading.startswith(name)), None)
            if heading is None:
                continue
            text = now.pop(heading)
            if what == "edit":
                now[heading] = f"{text} Changed {place}."
            elif what == "rename":
                now[f"{name} {place}"] = text
            elif what == "space":
                now[heading] = text.replace(" ", "\n", 1)
        events.append(edited(document(now), place))
    ledger = holding(tmp_path_factory.mktemp("ledger"), *events)
    standing = {" ".join(text.split()) for text in now.values()}
    expected = {f"m{number}": FIRST[name] not in standing for number, name in enumerate(SECTIONS, start=1)}
    assert states(ledger) == expected
    before = ledger_hash(ledger.connection)
    ledger.derivation.rebuild()
    assert states(ledger) == expected
    assert ledger_hash(ledger.connection) == before
    ledger.close()


def test_a_withdrawal_touches_everything_and_an_old_text_that_returns_nothing(tmp_path: Path) -> None:
    version = policy_version(document(FIRST))
    events = [edited(document(FIRST), 0), *answered(1, "Laptops", version, 0), *answered(2, "Shirts", version, 0)]
    withdrawn = e.PolicyWithdrawn(event_id=make.event_id(70_001), occurred_at=make.at(200), policy_id="returns")
    ledger = holding(tmp_path / "a", *events, withdrawn)
    assert states(ledger) == {"m1": True, "m2": True}
    ledger.close()
    changed = document(FIRST | {"Laptops": "Laptops cannot be sent back."})
    ledger = holding(tmp_path / "b", *events, edited(changed, 1))
    assert states(ledger) == {"m1": True, "m2": False}
    ledger.close()
    ledger = holding(tmp_path / "c", *events, edited(changed, 1), edited(document(FIRST), 2))
    assert states(ledger) == {"m1": False, "m2": False}
    ledger.close()


def test_a_section_that_was_never_seen_counts_with_its_whole_document(tmp_path: Path) -> None:
    version = policy_version(document(FIRST))
    events = [edited(document(FIRST), 0), *answered(1, "Elsewhere", version, 0), *answered(2, "Shirts", "0" * 12, 0)]
    ledger = holding(tmp_path, *events, edited(document(FIRST | {"Boots": "None."}), 1))
    assert states(ledger) == {"m1": True, "m2": True}
    ledger.close()


def test_thumbs_too_are_kept_where_their_section_stands(tmp_path: Path) -> None:
    version = policy_version(document(FIRST))
    events: list[e.Event] = [edited(document(FIRST), 0)]
    for number, name in ((1, "Laptops"), (2, "Shirts")):
        events += [answered(number, name, version, 0)[0], make.thumb(number, "up")]
    kept = "SELECT message_id FROM unpaired ORDER BY 1"
    ledger = holding(tmp_path / "before", *events)
    assert ledger.connection.execute(kept).fetchall() == [("m1",), ("m2",)]
    ledger.close()
    ledger = holding(tmp_path / "after", *events, edited(document(FIRST | {"Laptops": "Never."}), 1))
    assert ledger.connection.execute(kept).fetchall() == [("m2",)]
    ledger.close()


def test_a_digest_tells_what_a_section_says_and_nothing_of_its_name_or_its_line_ends() -> None:
    one = section_digests("# R\n\n## A\n\nten  days\n\n- one\n- two\n\n## B\n\n5.00\n")
    assert section_digests("# R\n\n## C\n\nten days\n\n- one\n- two\n\n## B\n\n500\n")["R > C"] == one["R > A"]
    assert section_digests("# R\r\n\r\n## A\r\n\r\nten days\r\n\r\n- one\r\n- two\r\n\r\n## B\r\n\r\n5.00\r\n") == one
    assert section_digests("# R\n\n## B\n\n500\n")["R > B"] != one["R > B"]
