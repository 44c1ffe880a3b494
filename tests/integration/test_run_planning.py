"""From events in a real ledger to a run directory that a job accepts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from csqa_loop import events as e
from csqa_loop.evidence.pair_queries import fresh_examples, fresh_pairs
from csqa_loop.evidence.rules.pairs import held_out
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.ledger.service import LedgerService
from csqa_loop.settings import TrainingSettings
from csqa_loop.training.planner import RunPlanner
from csqa_loop.training.policy import RunPolicy
from csqa_loop.training.rules.selection import SelectionPolicy
from csqa_loop.training.rules.trigger import TriggerPolicy
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import RunConfig
from csqa_loop.training.run.rows import data_hash_of
from csqa_loop.training.run.writer import RunWriter
from tests import events as make
from tests.ledgers import ledger_at

ADAPTER = "a-0123456789abcdef"
SECTION = next(name for name in map(str, range(100)) if not held_out("returns", name))
POLICY = (
    "# Returns\n\n## Footwear\n\nWhatever we sold may be returned within 45 days if it is clean: socks, lamps, furniture, keys, a violin.\n"
)
MATTERS = [
    "lamps",
    "woollen socks",
    "a canoe with its paddle",
    "garden furniture",
    "opened cosmetics",
    "gift vouchers",
    "spare keys",
    "a violin",
]


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[LedgerService]:
    service = LedgerService(ledger_at(tmp_path / "ledger" / "ledger.duckdb"))
    await service.wait_for_lock()
    await service.open()
    yield service
    await service.close()


def asked(number: int) -> e.AnswerGiven:
    return make.answer(number, section=SECTION, question=f"How do I return {MATTERS[number]}?", answer=f"{MATTERS[number]}: 30 days.")


def planner(ledger: LedgerService, runs: Path, method: str, *, newest_share: float = 0.0) -> RunPlanner:
    config = RunConfig(base_model="/no/such/model", adapters=str(runs.parent / "adapters"), training=TrainingSettings(method=method))
    selection = SelectionPolicy(max_pairs=50, newest_share=newest_share)
    policy = RunPolicy(TriggerPolicy(min_pairs=2), selection, method=method, min_rated=2, min_demonstrations=2)
    return RunPlanner(ledger, RunWriter(runs, config), policy)


def checked(runs: Path, request: e.TrainingRequested) -> RunDirectory:
    """The run's folder, as a job finds it."""
    run = RunDirectory.of(runs, request.run_id)
    found, config = run.check()
    assert config.training.method == request.method
    assert (found.reason, found.data_hash) == (request.reason, request.data_hash)
    assert (
        data_hash_of(*(run.path / name for name in found.files if name.endswith(".parquet") and name != "holdout.parquet"))
        == found.data_hash
    )
    return run


async def test_the_second_run_repeats_what_the_first_one_taught(ledger: LedgerService, tmp_path: Path) -> None:
    plan = planner(ledger, tmp_path / "runs", "dpo")
    await ledger.take(make.batch(*(event for n in range(4) for event in (asked(n), make.bad_case(n, "30 days and 14.")))))
    first = await plan.claim("base", make.at(10))
    assert first is not None
    trained = e.AdapterTrained(
        occurred_at=make.at(11),
        run_id=first.run_id,
        attempt=1,
        adapter=ADAPTER,
        parent="base",
        recipe_hash="",
        data_hash="",
        pairs=4,
        seconds=1,
    )
    later = [event for n in range(4, 8) for event in (asked(n), make.bad_case(n, "30 days and 14."))]
    await ledger.take(make.batch(first, trained, *later))
    second = await plan.claim(ADAPTER, make.at(20))
    assert second is not None
    assert set(second.replay_pair_ids) < set(first.pair_ids)
    run = checked(tmp_path / "runs", second)
    assert (len(run.pairs()), len(run.replay())) == (4, 2)  # 30 % of the whole set


async def test_the_newest_pairs_measure_a_run_and_stay_fresh(ledger: LedgerService, tmp_path: Path) -> None:
    plan = planner(ledger, tmp_path / "runs", "dpo", newest_share=0.25)
    await ledger.take(make.batch(*(event for n in range(8) for event in (asked(n), make.bad_case(n, "30 days and 14.")))))
    request = await plan.claim("base", make.at(20))
    assert request is not None
    run = checked(tmp_path / "runs", request)
    assert (len(run.pairs()), [pair.split for pair in run.holdout()]) == (6, ["time", "time"])
    await ledger.take(make.batch(request))
    assert [pair.pair_id for pair in await ledger.ask(fresh_pairs)] == list(request.holdout_pair_ids)
    # The next attempt finds everything as it was, and takes the folder over.
    (run.path / "checkpoints").mkdir()
    await plan.retry(request, make.at(30))
    assert run.request().attempt == 2
    assert (run.path / "checkpoints").is_dir()
    (run.path / "holdout.parquet").write_bytes(b"edited")
    await plan.retry(request.model_copy(update={"attempt": 2}), make.at(40))
    assert [pair.split for pair in checked(tmp_path / "runs", request).holdout()] == ["time", "time"]


async def test_thumbs_become_a_run_by_kto(ledger: LedgerService, tmp_path: Path) -> None:
    quote = e.Citation(chunk_id="returns#0", policy_id="returns", version=policy_version(POLICY), section="Returns > Footwear", score=0.9)
    system = e.ChatMessage(role="system", content=f"Policy:\n\n{POLICY}")
    given = [
        asked(n).model_copy(
            update={"citations": (quote,), "messages": (system, e.ChatMessage(role="user", content=asked(n).question))} | told
        )
        for n in range(6)
        for told in [{"answer": f"{MATTERS[n]}: 45 days."} if n % 2 else {}]
    ]
    await ledger.take(make.batch(make.policy(POLICY), *given, *(make.thumb(n, "up" if n % 2 else "down") for n in range(6))))
    request = await planner(ledger, tmp_path / "runs", "auto").claim("base", make.at(10))
    assert request is not None
    rows = checked(tmp_path / "runs", request).unpaired()
    assert (request.method, sorted(row.example_id for row in rows)) == ("kto", sorted(request.example_ids))
    assert {row.liked for row in rows} == {True, False}


async def test_imported_demonstrations_become_a_first_sft(ledger: LedgerService, tmp_path: Path) -> None:
    shown = [
        e.ExampleImported(
            occurred_at=make.at(n), conversation_id=f"i-{n}", messages=(e.ChatMessage(role="user", content=f"May I return {MATTERS[n]}?"),),
            answer=f"Yes, {MATTERS[n]} within 14 days.", category="dialogue", operator="ops", origin="faq.csv 0123456789ab row 7",
        )
        for n in range(3)
    ]  # fmt: skip
    await ledger.take(make.batch(*shown))
    request = await planner(ledger, tmp_path / "runs", "auto").claim("base", make.at(10))
    assert request is not None
    assert (request.method, len(checked(tmp_path / "runs", request).demonstrations())) == ("sft", 3)
    await ledger.take(make.batch(request))
    assert await ledger.ask(fresh_examples) == []
