"""Events that come again: the same fact, however it is written, or another one under a known id."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from csqa_loop.ledger.connection import Connection, incoming
from csqa_loop.ledger.facts import PROVENANCE, Rows
from csqa_loop.ledger.rules.batch import Letter

_REPEATS = """
SELECT place, body_sha = coalesce(held, first) FROM (
    SELECT place, incoming.body_sha, events.body_sha AS held, row_number() OVER same_id AS nth, first_value(incoming.body_sha) OVER same_id AS first
    FROM incoming LEFT JOIN events USING (event_id) WINDOW same_id AS (PARTITION BY event_id ORDER BY place)
) WHERE held IS NOT NULL OR nth > 1
"""
"""(place, whether the bytes are those by which the event is known) of incoming rows whose event is in the ledger, or earlier in the batch."""


def sift(connection: Connection, tables: Mapping[str, pa.Table]) -> tuple[Mapping[str, pa.Table], list[int]]:
    """(rows of events that are new, once each; places of those whose id is known from a record with other bytes)."""
    if not tables:
        return {}, []
    with incoming(connection, tables["events"].select(["place", "event_id", "body_sha"])):
        repeats = connection.execute(_REPEATS).fetchall()
    if not repeats:
        return tables, []
    places = pa.array([place for place, _ in repeats], pa.int32())
    fresh = {table: rows.filter(pc.invert(pc.is_in(rows["place"], places))) for table, rows in tables.items()}
    return {table: rows for table, rows in fresh.items() if len(rows)}, [place for place, alike in repeats if not alike]


def has_fact(connection: Connection, rows: Rows, place: int) -> bool:
    """Whether the ledger holds this very fact, from a record that was written another way. An example is its content: from another file it is the same."""
    here = pc.field("place") == place
    table, row = next((table, own) for table, all_rows in rows.tables.items() if table != "events" and len(own := all_rows.filter(here)))
    if table == "examples":
        return True
    # Where a record lies, and how its date was bounded, is no part of the fact; what it claimed is.
    names = [name for name in row.column_names if name not in PROVENANCE | {"occurred_at"}]
    alike = " AND ".join(f'held."{name}" IS NOT DISTINCT FROM incoming."{name}"' for name in names)
    event = rows.tables["events"].filter(here)
    row = row.append_column("said", pc.coalesce(event["claimed_at"], event["occurred_at"]))
    with incoming(connection, row):
        # By row: else the whole table would be decompressed to compare one.
        same_id = f"SELECT * FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE event_id = (SELECT event_id FROM incoming))"  # noqa: S608 - table and column names are ours
        said = "SELECT coalesce(claimed_at, occurred_at) FROM events WHERE event_id = (SELECT event_id FROM incoming)"
        return bool(connection.execute(f"SELECT 1 FROM ({same_id}) held, incoming WHERE incoming.said = ({said}) AND {alike}").fetchone())  # noqa: S608


def conflict(rows: Rows, place: int) -> Letter:
    """The letter of an event whose id is known with another body."""
    event = rows.tables["events"].filter(pc.field("place") == place).select(["type", "event_id"]).to_pylist()[0]
    reason = f"{event['type']} {event['event_id']}: this event_id is known with another body"
    return Letter(rows.records[place], reason, event_id=str(event["event_id"]))
