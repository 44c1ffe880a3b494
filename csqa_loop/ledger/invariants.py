"""What must hold after any fault, and the hash that a clean replay must reproduce."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from csqa_loop.ledger.facts import DERIVED_TABLES, FACT_TABLES, PROVENANCE
from csqa_loop.ledger.losses import losses


@dataclass(frozen=True)
class Finding:
    """One invariant: held or not, with what was compared."""

    invariant: str
    holds: bool
    detail: str


def check(
    connection: duckdb.DuckDBPyConnection,
    *,
    accepted: Sequence[str] | None = None,
    committed: Mapping[tuple[str, int], int] | None = None,
    serving: Sequence[tuple[str, str]] = (),
    champion: str | None = None,
) -> list[Finding]:
    """Evaluate the invariants of the ledger.

    Args:
        connection: a reader of the ledger.
        accepted: event ids that a producer saw acknowledged; None: I1 is not evaluated.
        committed: Kafka's committed offset of every partition; None: I3 is not evaluated.
        serving: (where, what it lacks) of everything that disagrees with the current deployment.
        champion: the current champion.
    """
    findings = [_accepted(connection, accepted)] if accepted is not None else []
    findings.append(_once(connection))
    if committed is not None:
        findings.append(_offsets(connection, committed))
    findings.append(_pairs(connection))
    findings.append(_dates(connection))
    findings.append(
        Finding(
            "I5",
            champion is not None and not serving,
            f"champion {champion}; " + ("; ".join(f"{where}: {lack}" for where, lack in serving) or "all agree"),
        )
    )
    findings.append(_losses(connection))
    return findings


def _accepted(connection: duckdb.DuckDBPyConnection, accepted: Sequence[str]) -> Finding:
    missing = connection.execute(
        "SELECT unnest($1) AS id EXCEPT (SELECT event_id::VARCHAR FROM events UNION SELECT event_id FROM dead_letters WHERE event_id IS NOT NULL) ORDER BY 1",
        [[name.lower() for name in accepted]],
    ).fetchall()
    detail = f"{len(set(accepted))} accepted, {len(missing)} missing" + (f", first: {missing[0][0]}" if missing else "")
    return Finding("I1", not missing, detail)


def _once(connection: duckdb.DuckDBPyConnection) -> Finding:
    union = " UNION ALL ".join(f"SELECT event_id FROM {table}" for table in FACT_TABLES if table != "events")  # noqa: S608
    row = connection.execute(
        f"WITH rows AS ({union}) SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM rows), "  # noqa: S608
        "(SELECT count(*) FROM (SELECT event_id FROM rows GROUP BY event_id HAVING count(*) > 1)), "
        "(SELECT count(*) FROM events WHERE event_id NOT IN (SELECT event_id FROM rows))"
    ).fetchone()
    events, rows, doubled, lost = row or (0, 0, 0, 0)
    return Finding(
        "I2", doubled == 0 and lost == 0 and events == rows, f"{events} events, {rows} rows, {doubled} doubled, {lost} without a row"
    )


def _offsets(connection: duckdb.DuckDBPyConnection, committed: Mapping[tuple[str, int], int]) -> Finding:
    offsets = {
        (topic, partition): offset
        for topic, partition, offset in connection.execute("SELECT topic, partition, next_offset FROM offsets").fetchall()
    }
    ahead = [f"{topic}-{partition}: Kafka {offset}, ledger {offsets.get((topic, partition), 0)}" for (topic, partition), offset in sorted(committed.items())
             if offset > offsets.get((topic, partition), 0)]  # fmt: skip
    return Finding("I3", not ahead, "; ".join(ahead[:3]) or f"{len(committed)} partitions")


def _dates(connection: duckdb.DuckDBPyConnection) -> Finding:
    """Not an invariant that can break: publishers whose clocks are ahead, so that somebody sets them right."""
    rows = connection.execute(
        "SELECT topic, count(*), max(claimed_at) FROM events WHERE claimed_at IS NOT NULL GROUP BY topic ORDER BY topic"
    ).fetchall()
    said = "; ".join(f"{topic}: {count} dated in the future, up to {moment:%Y-%m-%d %H:%M} UTC" for topic, count, moment in rows)
    return Finding(
        "dates", holds=True, detail=f"{said}; dated by their records instead" if said else "no event is dated in the future of its record"
    )


def _pairs(connection: duckdb.DuckDBPyConnection) -> Finding:
    row = connection.execute(
        """
        SELECT (SELECT count(*) FROM pairs),
            (SELECT count(*) FROM pairs WHERE answer_event_id NOT IN (SELECT event_id FROM events)
                OR evidence_event_id NOT IN (SELECT event_id FROM events)),
            (SELECT count(*) FROM claims JOIN pairs USING (pair_id) WHERE held_out),
            (SELECT count(*) FROM claims WHERE pair_id NOT IN (SELECT pair_id FROM pairs)
                AND pair_id NOT IN (SELECT pair_id FROM claimed_sources WHERE answer_event_id IN (SELECT event_id FROM events)
                    AND evidence_event_id IN (SELECT event_id FROM events)))
            + (SELECT count(*) FROM claimed_examples WHERE example_id NOT IN (
                SELECT message_id FROM answers UNION ALL SELECT conversation_id FROM examples))
        """
    ).fetchone()
    pairs, orphans, leaked, unknown = row or (0, 0, 0, 0)
    return Finding(
        "I4",
        orphans == leaked == unknown == 0,
        f"{pairs} pairs, {orphans} without source events, {leaked} held out but trained on, {unknown} trained on but unknown",
    )


def _losses(connection: duckdb.DuckDBPyConnection) -> Finding:
    known = losses(connection)
    red = [str(loss.gap) for loss in known if loss.acknowledged_at is None]
    detail = f"{len(known)} times records were deleted before they were read, {len(red)} not acknowledged"
    return Finding("I6", not red, detail + "".join(f"; {gap}" for gap in red[:5]))


def ledger_hash(connection: duckdb.DuckDBPyConnection) -> str:
    """64 hex over the fact and decision tables, whatever the order the events arrived in."""
    digest = hashlib.sha256()
    for table in (*FACT_TABLES, *DERIVED_TABLES):
        digest.update(f"\n{table}\n".encode())
        order = "pair_id" if table == "pairs" else "event_id"
        # Bytes and places are no fact: which of two records of one event came first must not matter.
        columns = connection.execute(f"SELECT * FROM {table} LIMIT 0").description  # noqa: S608 - table names are ours
        facts = ", ".join(f'"{name}"' for name, *_ in columns if name not in PROVENANCE)
        # That a process started says nothing of what happened: a restart must not change the hash.
        rows_of = f"{table} WHERE type <> 'LedgerOpened'" if table in {"events", "decisions"} else table
        cursor = connection.execute(f"SELECT {facts} FROM {rows_of} ORDER BY {order}")  # noqa: S608 - table and column names are ours
        while rows := cursor.fetchmany(10_000):
            for row in rows:
                digest.update(json.dumps(row, default=str, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
