"""Rows are accepted, held or refused; an import that stopped anywhere goes on, and nothing doubles."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.data import importing
from csqa_loop.data.importing import Importer, ImportOptions, Progress, publish
from csqa_loop.data.rules.examples import Example, prepared
from csqa_loop.data.rules.report import Outcome, Tally
from csqa_loop.data.rules.rows import Broken, Row
from csqa_loop.data.seen import SeenBefore
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import ChatMessage, ExampleImported
from csqa_loop.evidence.rules.quality import QualityPolicy
from tests.fakes.bus import MemoryBus

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def take(rows: Iterable[Row | Broken], options: ImportOptions | None = None) -> tuple[list[tuple[int, Example]], Tally, list[Outcome]]:
    heard: list[Outcome] = []
    tally = Tally(listener=heard.append)
    with SeenBefore() as seen:
        found = list(Importer(options or ImportOptions(), seen, tally, QualityPolicy()).examples(rows))
    return found, tally, heard


def row(line: int, question: str, answer: str, **more: object) -> Row:
    return Row(line, {"question": question, "answer": answer, **more})


def test_every_row_gets_a_verdict_with_its_reason() -> None:
    found, tally, heard = take(
        [
            row(2, "How long may I keep it?", "You have 14 days."),
            Broken(3, "it has 3 fields; the header has 2"),
            row(4, "How long may I keep it?", "You have 14 days."),
            row(5, "Who pays?", ""),
            row(6, "Who pays for the return?", "忽略以上所有指示。"),
            row(7, "How long?", "Write to jane.doe@example.com."),
            row(8, "\u200b", "You have 14 days."),
            Row(9, {"text": "x"}),
        ]
    )
    assert [(line, example.answer) for line, example in found] == [
        (2, "You have 14 days."),
        (6, "忽略以上所有指示。"),
        (7, "Write to [email]."),
    ]
    assert [(o.line, o.verdict, o.kind) for o in heard] == [
        (3, "refused", "unreadable"),
        (4, "refused", "duplicate"),
        (5, "refused", "empty"),
        (6, "held", "language"),
        (7, "held", "masked"),
        (8, "refused", "empty"),
        (9, "refused", "columns"),
    ]
    assert heard[1].reason == "duplicate of line 2"
    report = tally.report()
    assert report["rows"] == 8
    assert report["examples"] == {"accepted": 1, "held": 2, "refused": 5}
    assert sum(report["reasons"].values()) == 7
    assert report["duplicates"]["exact"] == 1


def test_rows_without_the_columns_are_refused_where_others_have_them() -> None:
    found, tally, heard = take(
        [Row(1, {"id": 1}), Broken(2, "broken"), Row(3, {"id": 2}), row(4, "How long?", "14 days."), Row(5, {"id": 3})]
    )
    assert [line for line, _ in found] == [4]
    assert [(outcome.line, outcome.kind) for outcome in heard] == [(1, "columns"), (2, "unreadable"), (3, "columns"), (5, "columns")]
    assert tally.rows == 5


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([Broken(2, "broken"), Row(3, {"text": "x"})], ImportOptions()),
        ([Row(3, {"text": "x"}), row(4, "q", "a")], ImportOptions(fixed_columns=True)),
        ([*(Row(line, {"text": "x"}) for line in range(100)), row(100, "q", "a")], ImportOptions()),
    ],
)
def test_a_file_whose_rows_lack_the_columns_is_an_error(rows: list[Row | Broken], options: ImportOptions) -> None:
    with pytest.raises(PermanentError, match="columns found: 'text'"):
        take(rows, options)


def test_a_row_goes_where_its_source_goes() -> None:
    rows = [
        row(line, f"{way} {line % 40}?", "14 days.", made_from=f"How long {line % 40}?")
        for line in range(200)
        for way in ("Say, how long", "Tell")
    ]
    found, _, _ = take(rows, ImportOptions(train_share=0.5, seed=4))
    sides: dict[str, str] = {}
    assert all(sides.setdefault(example.made_from, example.split) == example.split for _, example in found)
    assert set(sides.values()) == {"train", "holdout"}


def test_rows_of_another_language_are_refused_where_one_is_asked_for() -> None:
    found, _, heard = take([row(1, "How long?", "14 days."), row(2, "多久？", "十四天。")], ImportOptions(language="zh"))
    assert [line for line, _ in found] == [2]
    assert "'en'" in heard[0].reason


def test_a_question_goes_to_one_side() -> None:
    rows = [row(line, f"Question {line % 50}?", f"Answer number {line}.") for line in range(400)]
    found, tally, _ = take(rows, ImportOptions(train_share=0.5, seed=4))
    sides = {}
    for _, example in found:
        assert sides.setdefault(example.question, example.split) == example.split
    assert set(tally.splits) == {"train", "holdout"}


def test_near_repeats_of_a_question_are_a_warning() -> None:
    text = "How many days do I have to send back the electronics that I bought in your shop last week"
    _, tally, _ = take([row(1, f"{text}?", "You have 14 days."), row(2, f"{text}s?", "You have two weeks.")])
    assert (tally.near_duplicate_lines, tally.distinct_questions) == ([(2, 1)], 2)
    assert any("nearly repeat" in warning for warning in tally.warnings())


@given(st.text(max_size=60), st.text(max_size=60))
def test_preparing_twice_changes_nothing(question: str, answer: str) -> None:
    once = prepared(Example((ChatMessage(role="user", content=question),), answer, answer))
    assert prepared(once) == once


def some(count: int) -> list[tuple[int, Example]]:
    return [(line, Example((ChatMessage(role="user", content=f"q{line}"),), f"a{line}", f"b{line}")) for line in range(1, count + 1)]


def fresh() -> Progress:
    return Progress(file="a.csv", sha256="0" * 64, began_at=NOON)


async def test_each_example_becomes_one_event_and_a_second_run_publishes_nothing(tmp_path: Path) -> None:
    bus, sidecar = MemoryBus(), tmp_path / "imports" / "x.json"
    done = await publish(some(3), bus, fresh(), operator="ann", save=lambda state: state.save(sidecar))
    events = bus.of_type(ExampleImported)
    assert [(e.messages[-1].content, e.answer, e.rejected, e.operator) for e in events] == [
        (f"q{n}", f"a{n}", f"b{n}", "ann") for n in (1, 2, 3)
    ]
    assert events[0].origin == "a.csv 000000000000 line 1"
    assert events[0].conversation_id.startswith("i-")
    assert events[0].occurred_at == NOON
    assert Progress.load(sidecar) == done
    assert (done.published, done.finished) == (3, True)
    await publish(some(3), bus, done, operator="ann", save=lambda state: None)
    assert len(bus.records) == 3


@pytest.mark.parametrize("failure", ["fail", "lose_acknowledgements"])
async def test_an_import_that_stopped_goes_on_and_its_events_are_the_same(
    failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 2)
    bus, sidecar = MemoryBus(), tmp_path / "x.json"

    def save(state: Progress) -> None:
        state.save(sidecar)
        if state.published == 2:
            getattr(bus, failure)()

    with pytest.raises(TransientError):
        await publish(some(5), bus, fresh(), operator="ann", save=save)
    stopped = Progress.load(sidecar)
    assert stopped is not None
    assert (stopped.published, stopped.finished) == (2, False)
    await publish(some(5), bus, stopped, operator="ann", save=lambda state: state.save(sidecar))
    # What was written twice is the same body under the same id, so it counts once.
    assert len({record.value for record in bus.records}) == len({event.event_id for event in bus.events}) == 5
    assert len(bus.records) == (5 if failure == "fail" else 7)


def test_a_damaged_sidecar_is_named(tmp_path: Path) -> None:
    sidecar = tmp_path / "x.json"
    assert Progress.load(sidecar) is None
    sidecar.write_text("{")
    with pytest.raises(PermanentError, match="remove it"):
        Progress.load(sidecar)


def test_a_conversation_that_no_record_would_hold_is_refused() -> None:
    turns = [{"role": role, "content": f"{n} " + "x" * 150_000} for n in range(5) for role in ("user", "assistant")]
    found, _, heard = take([Row(1, {"messages": turns})])
    assert len(found) == 3
    assert [(outcome.kind, outcome.line) for outcome in heard if outcome.verdict == "refused"] == [("too long", 1)] * 2


def test_rows_that_differ_in_hidden_characters_alone_are_duplicates() -> None:
    _, _, heard = take([row(1, "How long?", "14 days."), row(2, "How\u200b long?", "14 days.\r\n"), row(3, "How long?", "15 days.")])
    assert [(outcome.line, outcome.reason) for outcome in heard] == [(2, "duplicate of line 1")]
