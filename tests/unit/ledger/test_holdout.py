"""What may never be trained on: one rule, for pairs in Python and for votes in SQL."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.ledger.rules.holdout import HELD_OUT_MACRO, HOLDOUT_SHARE, held_out


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    found = duckdb.connect()
    found.execute(HELD_OUT_MACRO)
    return found


def test_the_held_out_share_is_what_it_says():
    sections = [held_out(f"policy-{number % 97}", f"section {number}") for number in range(20_000)]
    assert sum(sections) / len(sections) == pytest.approx(HOLDOUT_SHARE, abs=0.01)


def test_what_is_held_out_is_a_public_contract():
    # A change of the hash would train on what earlier gates judged with.
    assert [held_out("returns", f"s{number}") for number in range(12)] == [
        True,
        False,
        False,
        False,
        False,
        False,
        False,
        False,
        False,
        True,
        False,
        False,
    ]


@given(policy=st.text(max_size=20), section=st.text(max_size=20))
def test_queries_hold_out_the_same_sections(connection: duckdb.DuckDBPyConnection, policy: str, section: str):
    assert connection.execute("SELECT is_held_out($1, $2)", [policy, section]).fetchone() == (held_out(policy, section),)


def test_queries_hold_out_the_same_of_many_sections(connection: duckdb.DuckDBPyConnection):
    sections = [f"section {number}" for number in range(20_000)]
    found = connection.execute("SELECT list(s) FROM (SELECT unnest($1) AS s) WHERE is_held_out('returns', s)", [sections]).fetchone()
    assert found is not None
    assert sorted(found[0]) == sorted(name for name in sections if held_out("returns", name))
