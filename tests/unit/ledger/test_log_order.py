"""One order for whatever has a current version: the log's, on every process alike, whatever publishers' clocks say."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop import events as e
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.invariants import check, ledger_hash
from csqa_loop.rollout.epochs import unpublished_epoch
from tests import events as make
from tests.ledgers import ledger_at
from tests.logs import Gateway, Log, current, take, told_again

HOUR = 3600.0
SKEWS = st.sampled_from([0.0, 0.0, HOUR, -HOUR, 3e9, -1e9])
"""Seconds; the large ones lead to the years 2121 and 1994."""
CHANGES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), SKEWS), min_size=1, max_size=10)
"""(policy, text or 0: withdrawn, the publisher's clock)."""
TEXT = "# Returns\n\n## Footwear\n\nBoots may be returned within {} days if the soles are clean.\n"


@contextmanager
def opened() -> Iterator[Ledger]:
    with TemporaryDirectory() as folder:
        ledger = ledger_at(Path(folder) / "ledger.duckdb")
        ledger.open()
        try:
            yield ledger
        finally:
            ledger.close()


def changed(policy: int, text: int, second: float, number: int) -> e.PolicyPublished | e.PolicyWithdrawn:
    policy_id = f"policy-{policy}"
    if not text:
        return e.PolicyWithdrawn(event_id=make.event_id(70_000 + number), occurred_at=make.at(second), policy_id=policy_id)
    return make.policy(TEXT.format(30 + text), second=second, policy_id=policy_id, number=number)


def written(changes: list[tuple[int, int, float]], *, stamped: bool) -> tuple[Log, dict[str, str]]:
    """The log, and what is current by it."""
    log, last = Log(stamped), dict[str, str]()
    for number, (policy, text, skew) in enumerate(changes):
        event = changed(policy, text, number * 10 + skew, number)
        log.write(event, number * 10)
        last.pop(event.policy_id, None)
        if isinstance(event, e.PolicyPublished):
            last[event.policy_id] = event.version
    return log, last


@settings(max_examples=25)
@given(changes=CHANGES, stamped=st.booleans(), seed=st.integers(0, 999))
def test_ledger_and_gateway_serve_what_the_log_says_last(changes: list[tuple[int, int, float]], stamped: bool, seed: int) -> None:
    log, last = written(changes, stamped=stamped)
    chance, gateway = random.Random(seed), Gateway()
    gateway.follow(log.read(chance))
    with opened() as ledger:
        take(ledger, log.read(chance), chance)
        assert current(ledger) == gateway.serves() == last
        assert unpublished_epoch(ledger.connection) is None
    assert gateway.index.as_of <= make.at(10 * len(changes))


@settings(max_examples=25)
@given(changes=CHANGES, repeated=st.lists(st.integers(0, 9), min_size=1, max_size=4), seed=st.integers(0, 999))
def test_a_late_repetition_brings_nothing_back_for_good(changes: list[tuple[int, int, float]], repeated: list[int], seed: int) -> None:
    log, last = written(changes, stamped=True)
    chance = random.Random(seed)
    events = [changed(policy, text, number * 10 + skew, number) for number, (policy, text, skew) in enumerate(changes)]
    for place in repeated:
        log.write(events[place % len(events)], 200)
    with opened() as ledger:
        take(ledger, log.read(chance), chance)
        assert current(ledger) == last
        said = len(log.records)
        assert told_again(ledger, lambda event, moment: log.write(event, 300, carried=moment), lambda: log.records[said:]) <= 1
        gateway = Gateway()
        gateway.follow(log.read(chance))
        assert gateway.serves() == current(ledger) == last
        with opened() as again:
            take(again, log.read(chance), chance)
            assert current(again) == last
            assert ledger_hash(again.connection) == ledger_hash(ledger.connection)


def story(skew: float) -> Log:
    """Two versions of a policy, answers from each while it was in force, and complaints. The publisher's clock is off by `skew` seconds."""
    log = Log()
    for number, (days, second) in enumerate([(45, 0), (60, 1000)]):
        log.write(make.policy(TEXT.format(days), second=second + skew, number=number), second)
    for number in range(8):
        second, days = 200.0 * (number + 1), 45 if number < 4 else 60
        version = policy_version(TEXT.format(days))
        quote = e.Citation(chunk_id="returns#0", policy_id="returns", version=version, section="Returns > Footwear", score=0.9)
        system = e.ChatMessage(role="system", content=f"Policy:\n\n{TEXT.format(days)}")
        asked = e.ChatMessage(role="user", content="How long may I return boots?")
        told = make.answer(number, second=second, question=asked.content, messages=(system, asked), citations=(quote,), answer="9 days.")
        log.write(told, second)
        log.write(make.thumb(number, "up", second=second + 1), second + 1)
        log.write(make.thumb(number, "down", second=second + 3 - skew, identity=100 + number), second + 3)
        right = days if number % 2 else 90
        log.write(make.bad_case(number, f"Boots may be returned within {right} days.", second=second + 4), second + 4)
    return log


def blames(ledger: Ledger) -> list[tuple[object, ...]]:
    return ledger.connection.execute("SELECT message_id, reason, fault, policy_id, version, detail FROM blames ORDER BY ALL").fetchall()


def pair_states(ledger: Ledger) -> list[tuple[object, ...]]:
    return ledger.connection.execute("SELECT message_id, chosen, state FROM pair_states ORDER BY ALL").fetchall()


@settings(max_examples=10)
@given(skew=st.sampled_from([HOUR, -HOUR, 3e9, 600.0, -600.0]), seed=st.integers(0, 999))
def test_no_publishers_clock_changes_a_blame_or_a_pair(skew: float, seed: int) -> None:
    found = []
    for off in (0.0, skew):
        with opened() as ledger:
            take(ledger, story(off).read(random.Random(seed)), random.Random(seed))
            found.append((blames(ledger), pair_states(ledger)))
    assert found[0] == found[1]
    assert {fault for _, _, fault, *_ in found[0][0]} >= {"generation", "stale_policy"}
    assert {state for *_, state in found[0][1]} >= {"quarantined", "fresh"} or {state for *_, state in found[0][1]} >= {
        "quarantined",
        "held",
    }


@settings(max_examples=10)
@given(skew=SKEWS, shift=st.integers(0, 1), seed=st.integers(0, 999))
def test_the_log_three_times_in_other_partitions_makes_the_same_ledger(skew: float, shift: int, seed: int) -> None:
    log, chance, hashes = story(skew), random.Random(seed), set()
    for copy in (log, log.copied(1, shift=shift), log.copied(3, shift=shift)):
        with opened() as ledger:
            take(ledger, copy.read(chance), chance)
            hashes.add(ledger_hash(ledger.connection))
            ledger.derivation.rebuild()
            hashes.add(ledger_hash(ledger.connection))
    assert len(hashes) == 1


def lost(ledger: Ledger) -> int:
    return ledger.begin_epoch([(topic, n) for topic in ("csqa.policies", "csqa.chats", "csqa.feedback") for n in range(2)], "it is empty")


@pytest.mark.parametrize("skew", [HOUR, -HOUR, 3e9])
def test_after_a_lost_log_the_current_price_is_current_and_the_withdrawn_policy_stays_withdrawn(skew: float) -> None:
    before, after, chance = Log(), Log(), random.Random(1)
    cheap, dear = make.policy("5 pounds", second=skew, number=1), make.policy("9 pounds", second=10, number=2)
    old, none = make.policy("gone", second=skew, policy_id="old", number=3), e.PolicyWithdrawn(occurred_at=make.at(20), policy_id="old")
    for second, event in enumerate([cheap, old, dear, none]):
        before.write(event, 10.0 * second)
    with opened() as ledger:
        take(ledger, before.read(chance), chance)
        lost(ledger)
        told_again(ledger, lambda event, moment: after.write(event, 500, carried=moment), lambda: after.records)
        gateway = Gateway()
        gateway.follow(after.records)
        assert gateway.serves() == current(ledger) == {"returns": dear.version}
        assert [record.key for record in after.records] == [b"old", b"returns"]
        with opened() as fresh:
            take(fresh, after.records, chance)
            assert current(fresh) == {"returns": dear.version}
            moments = "SELECT event_id, recorded_at FROM policies WHERE event_id IN (SELECT unnest($1)) ORDER BY 1"
            said = [[dear.event_id, none.event_id]]
            assert fresh.connection.execute(moments, said).fetchall() == ledger.connection.execute(moments, said).fetchall()


def test_what_its_owner_published_into_the_new_log_outlives_the_republication() -> None:
    before, after, chance = Log(), Log(), random.Random(1)
    before.write(make.policy("5 pounds", number=1), 0)
    dear = make.policy("9 pounds", second=-HOUR, number=2)
    with opened() as ledger:
        take(ledger, before.records, chance)
        lost(ledger)
        missing = unpublished_epoch(ledger.connection)
        assert missing is not None
        after.write(dear, 500)  # after the loop has read what is current, and before its records are in the log
        for event, moment in missing.facts:
            after.write(event, 501, carried=moment)
        take(ledger, after.records, chance)
        ledger.mark_republished(missing.epoch, missing.asked)
        assert current(ledger) == {"returns": dear.version}
        assert told_again(ledger, lambda event, moment: after.write(event, 502, carried=moment), lambda: after.records[2:]) == 1
        for kept in (after.records, after.records[-1:]):  # compaction leaves the last record of a key
            gateway = Gateway()
            gateway.follow(kept)
            with opened() as fresh:
                take(fresh, kept, chance)
                assert gateway.serves() == current(fresh) == {"returns": dear.version}


def test_a_new_log_on_top_of_a_copy_of_the_ledger_gives_the_running_ledger(tmp_path: Path) -> None:
    chance, after = random.Random(1), Log()
    ledger = ledger_at(tmp_path / "running" / "ledger.duckdb")
    ledger.open()
    take(ledger, story(HOUR).records, chance)
    ledger.close()
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "running" / "ledger.duckdb", tmp_path / "copy")
    hashes = []
    for name in ("running", "copy"):
        ledger = ledger_at(tmp_path / name / "ledger.duckdb")
        ledger.open()
        if name == "running":
            lost(ledger)
            told_again(ledger, lambda event, moment: after.write(event, 9000, carried=moment), lambda: after.records)
            after.write(make.answer(50, second=9100), 9100)
            take(ledger, after.records[-1:], chance)
        else:
            lost(ledger)
            take(ledger, after.read(chance), chance)
        hashes.append(ledger_hash(ledger.connection))
        ledger.close()
    assert hashes[0] == hashes[1]


def test_a_thumb_of_the_year_9999_is_overtaken_and_dated_by_its_record() -> None:
    log, chance = Log(stamped=False), random.Random(1)
    log.write(make.answer(1), 0)
    far = make.thumb(1, "up").model_copy(update={"occurred_at": make.START.replace(year=9999)})
    log.write(far, 5)
    log.write(make.thumb(1, "down", second=8, identity=2), 8)
    log.write(make.thumb(1, "down", second=9 - 3e10, identity=3), 9)  # the year 1075 is no later than any other, and no earlier
    with opened() as ledger:
        take(ledger, log.read(chance), chance)
        assert ledger.connection.execute("SELECT thumb, event_id FROM last_thumbs").fetchall() == [("down", make.event_id(30_003))]
        dates = "SELECT occurred_at, claimed_at FROM events WHERE event_id = ?"
        assert ledger.connection.execute(dates, [far.event_id]).fetchone() == (make.at(5), far.occurred_at)
        (finding,) = [finding for finding in check(ledger.connection, champion="base") if finding.invariant == "dates"]
        assert finding.holds
        assert "csqa.feedback: 1 dated in the future, up to 9999" in finding.detail
        # The same fact once more, written another way, is the same fact.
        log.write(far, 700)
        again = log.records[-1]._replace(value=b" " + far.to_json())
        take(ledger, [again], chance)
        assert ledger.connection.execute("SELECT count(*) FROM dead_letters").fetchone() == (0,)


def test_rows_from_before_places_were_kept_come_first_in_the_order_they_had(tmp_path: Path) -> None:
    file = tmp_path / "ledger.duckdb"
    ledger = ledger_at(file)
    ledger.open()
    late, early = make.policy("late", second=HOUR, number=1), make.policy("early", second=0, number=2)
    take(ledger, [make.record(late, 0), make.record(early, 1)], random.Random(1))
    assert current(ledger) == {"returns": early.version}
    tables = [
        name for (name,) in ledger.connection.execute("SELECT table_name FROM duckdb_tables() WHERE table_name <> 'migrations'").fetchall()
    ]
    drop = ["epoch", '"offset"', "recorded_at"]
    for table in tables:
        columns = {
            name
            for (name,) in ledger.connection.execute("SELECT column_name FROM duckdb_columns() WHERE table_name = ?", [table]).fetchall()
        }
        if "recorded_at" in columns:
            for column in [*drop, *(["partition", "claimed_at"] if table == "events" else [])]:
                ledger.connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    ledger.connection.execute("ALTER TABLE blames DROP COLUMN judged_at")
    ledger.connection.execute("ALTER TABLE epochs DROP COLUMN asked")
    ledger.connection.execute("DELETE FROM migrations WHERE name = '0006_places.sql'")
    ledger.close()
    ledger.open()
    assert current(ledger) == {"returns": late.version}
    newest = make.policy("newest", second=-HOUR, number=3)
    take(ledger, [make.record(newest, 0)], random.Random(1))
    assert current(ledger) == {"returns": newest.version}
    ledger.close()
