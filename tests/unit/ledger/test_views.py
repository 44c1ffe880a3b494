"""Which answer and which thumb of a message count, whoever asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from csqa_loop.ledger import Ledger
from tests import events as make
from tests.ledgers import ledger_at


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = ledger_at(tmp_path / "ledger.duckdb")
    opened.open()
    again = make.answer(1, second=5, answer="later").model_copy(update={"event_id": make.event_id(1)})
    equally_early = make.answer(2, answer="greater id").model_copy(update={"event_id": make.event_id(99_999)})
    opened.take(
        make.batch(
            again, equally_early, make.answer(1, answer="first"), make.answer(2, answer="smaller id"), make.answer(3, answer="only"),
            make.thumb(1, "down", second=9, identity=17), make.thumb(1, "up", second=3, identity=18),
            make.thumb(2, "up", second=3, identity=14), make.thumb(2, "down", second=3, identity=13), make.thumb(3, "up"),
        )
    )  # fmt: skip
    yield opened
    opened.close()


def found(ledger: Ledger, query: str, *values: object) -> dict[str, str]:
    return dict(ledger.connection.execute(query, list(values)).fetchall())


def test_the_first_answer_of_a_message_counts(ledger: Ledger):
    first = {"m1": "first", "m2": "smaller id", "m3": "only"}
    assert found(ledger, "SELECT message_id, answer FROM first_answers") == first
    assert found(ledger, "SELECT message_id, answer FROM first_answers_of($1)", ["m1", "m2", "m2", "m9"]) == {
        name: first[name] for name in ("m1", "m2")
    }
    assert found(ledger, "SELECT message_id, answer FROM first_answers_of($1)", []) == {}


def test_the_thumb_that_came_last_in_the_log_counts(ledger: Ledger):
    last = {"m1": "up", "m2": "down", "m3": "up"}
    assert found(ledger, "SELECT message_id, thumb FROM last_thumbs") == last
    assert found(ledger, "SELECT message_id, thumb FROM last_thumbs_of($1)", ["m1", "m2", "m9"]) == {
        name: last[name] for name in ("m1", "m2")
    }
