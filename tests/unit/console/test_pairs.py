"""The console on a real ledger: pairs page by page, one pair's whole history, and what is in no pair."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from rich.console import Console

from csqa_loop import events as e
from csqa_loop.commands.pair_tree import pair_tree
from csqa_loop.console.app import create_console
from csqa_loop.evidence.pair_trace import PairTrace
from csqa_loop.evidence.rules.pairs import PairPolicy, held_out, review_id_of
from csqa_loop.settings import Settings
from tests import events as make
from tests.pair_console import ADAPTER, BOOTS, GOOD, HELD_OUT, QUESTION, SECTION, asked, console, corrected, example, get, requested


async def test_a_pair_has_what_an_export_needs(tmp_path: Path) -> None:
    async with console(tmp_path, *corrected(1)) as client:
        (pair,) = (await get(client, "/pairs"))["pairs"]
    expected = {
        "pair_id", "prompt", "question", "chosen", "rejected", "source", "weight", "category", "state", "held_out", "policy_id", "section", "quoted",
        "held", "rival", "contributor", "user", "occurred_at", "runs", "answer_event_id", "evidence_event_id",
    }  # fmt: skip
    assert expected <= pair.keys()
    assert "signature" not in pair
    assert (pair["chosen"], pair["state"], pair["category"], pair["runs"]) == (GOOD, "fresh", "returns and refunds", [])
    assert pair["answer_event_id"] == str(asked(1).event_id)


async def test_pages_hold_every_pair_once(tmp_path: Path) -> None:
    events = [event for number in range(7) for event in corrected(number, second=2 + number // 3)]
    async with console(tmp_path, *events) as client:
        everything = (await get(client, "/pairs"))["pairs"]
        read, after = [], ""
        while after is not None:
            page = await get(client, f"/pairs?limit=3{after and f'&after={after}'}")
            assert len(page["pairs"]) == 3 or page["next"] is None
            read += page["pairs"]
            after = page["next"]
    assert read == everything
    assert len({pair["pair_id"] for pair in read}) == 7


async def test_pairs_are_chosen_by_state_source_and_category(tmp_path: Path) -> None:
    async with console(tmp_path, *corrected(1), *corrected(2, section=HELD_OUT), example(1, rejected="Nobody knows.")) as client:
        states = {state: len((await get(client, f"/pairs?state={state}"))["pairs"]) for state in ("fresh", "held", "held_out", "claimed")}
        assert states == {"fresh": 1, "held": 1, "held_out": 1, "claimed": 0}  # no policy speaks of oars
        (imported,) = (await get(client, "/pairs?source=import"))["pairs"]
        assert (imported["category"], imported["contributor"]) == ("repairs", "opal")
        assert imported["answer_event_id"] == imported["evidence_event_id"] == str(example(1).event_id)
        assert len((await get(client, "/pairs?category=returns+and+refunds"))["pairs"]) == 2


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/pairs?after=yesterday", 400, "is no cursor"),
        ("/pairs?state=new", 422, "state"),
        ("/pairs?limit=0", 422, "limit"),
        ("/unpaired?after=1", 400, "is no cursor"),
        ("/pairs/p-0", 404, "no pair 'p-0'"),
        ("/bad-cases/report?since=2026-01-01", 422, "since"),
    ],
)
async def test_what_cannot_be_asked_is_named(tmp_path: Path, path: str, status: int, words: str) -> None:
    async with console(tmp_path) as client:
        answer = await client.get(f"/v1{path}")
    assert answer.status_code == status
    assert words in answer.json()["detail"]


async def test_a_trace_leads_from_the_question_to_the_adapter(tmp_path: Path) -> None:
    async with console(tmp_path, make.exposure(1), *corrected(1), make.thumb(1)) as client:
        (pair,) = (await get(client, "/pairs"))["pairs"]
    trained = e.AdapterTrained(
        occurred_at=make.at(60),
        run_id="r1",
        attempt=1,
        adapter=ADAPTER,
        parent="base",
        recipe_hash="x",
        data_hash="h",
        pairs=1,
        seconds=3.0,
    )
    gated = e.AdapterEvaluated(occurred_at=make.at(70), run_id="r1", attempt=1, adapter=ADAPTER, champion="base", passed=True)
    async with console(tmp_path, requested(pair["pair_id"]), trained, gated) as client:
        trace = await get(client, f"/pairs/{pair['pair_id']}")
    assert trace["answer"]["event_id"] == str(asked(1).event_id)
    assert trace["answer"]["body"]["citations"][0]["section"] == SECTION
    assert trace["exposure"]["event_id"] == str(make.exposure(1).event_id)
    assert [event["topic"] for event in trace["feedback"]] == ["csqa.feedback"]
    assert (trace["evidence"]["event_id"], trace["evidence"]["type"]) == (str(make.bad_case(1).event_id), "BadCaseReported")
    (blame,) = trace["blames"]
    assert (blame["event_id"], blame["fault"], blame["basis"]) == (trace["evidence"]["event_id"], "generation", "correction")
    (run,) = trace["runs"]
    assert (run["run_id"], run["adapter"], run["trained_event_id"], run["gate_passed"]) == ("r1", ADAPTER, str(trained.event_id), True)
    assert trace["pair"]["state"] == "claimed"
    assert [(reason["rule"], reason["event_id"]) for reason in trace["because"]] == [("claimed", run["event_id"])]


async def test_a_state_says_which_event_decided_it(tmp_path: Path) -> None:
    changed = make.policy(BOOTS.replace("45", "60"), second=100, number=1)
    rejected = make.review(2, "reject", second=30, subject="p")
    async with console(tmp_path, *corrected(1), *corrected(2)) as client:
        first, second = (pair["pair_id"] for pair in (await get(client, "/pairs"))["pairs"])
    rejected = rejected.model_copy(update={"subject": second, "review_id": review_id_of("pair", second), "note": "a joke"})
    async with console(tmp_path, changed, rejected) as client:
        quarantined, withdrawn = await get(client, f"/pairs/{first}"), await get(client, f"/pairs/{second}")
    assert quarantined["pair"]["state"] == "quarantined"
    (reason,) = quarantined["because"]
    assert (reason["rule"], reason["event_id"]) == ("policy changed", str(changed.event_id))
    assert reason["detail"] == f"the prompt quoted returns in version {make.policy(BOOTS).version}; {changed.version} is current"
    assert withdrawn["pair"]["state"] == "withdrawn"
    assert (withdrawn["because"][0]["event_id"], withdrawn["because"][0]["detail"]) == (
        str(rejected.event_id),
        "bea decided 'reject': a joke",
    )


async def test_a_review_that_was_undone_withdraws_its_pair(tmp_path: Path) -> None:
    events = [asked(1), make.thumb(1), make.review(1, corrected=GOOD), make.review(1, "reopen", second=20)]
    async with console(tmp_path, *events) as client:
        (pair,) = (await get(client, "/pairs"))["pairs"]
        trace = await get(client, f"/pairs/{pair['pair_id']}")
    assert (pair["source"], pair["state"]) == ("review", "withdrawn")
    assert [(reason["rule"], reason["event_id"]) for reason in trace["because"]] == [("withdrawn", str(events[-1].event_id))]


async def test_contradicting_pairs_wait_and_name_their_rival(tmp_path: Path) -> None:
    # Without grounding the second correction, which no policy supports, is a pair too.
    events = [*corrected(1), asked(2), make.bad_case(2, "Boots may be returned within 46 days.")]
    async with console(tmp_path, *events, policy=PairPolicy(grounding=False)) as client:
        first, second = (await get(client, "/pairs?state=held"))["pairs"]
        trace = await get(client, f"/pairs/{first['pair_id']}")
    assert trace["because"][0]["rule"] == "held"
    assert trace["because"][-1]["detail"] == f"contradiction: {second['pair_id']} states other numbers"


async def test_a_rated_pair_shows_the_answer_that_was_liked(tmp_path: Path) -> None:
    told = [asked(1), asked(2), asked(3, answer=GOOD), asked(4, answer=GOOD)]
    events = [*told, make.thumb(1), make.thumb(2), make.thumb(3, "up"), make.thumb(4, "up")]
    async with console(tmp_path, *events) as client:
        (pair,) = (await get(client, "/pairs"))["pairs"]
        trace = await get(client, f"/pairs/{pair['pair_id']}")
        left = [row["message_id"] for row in (await get(client, "/unpaired"))["unpaired"]]
    assert (pair["source"], trace["evidence"]["type"]) == ("rated", "FeedbackGiven")
    assert trace["liked_answer"]["body"]["answer"] == GOOD
    assert trace["answer"]["body"]["message_id"] == pair["message_id"]
    assert pair["message_id"] not in left
    assert trace["liked_answer"]["body"]["message_id"] not in left


async def test_proposals_and_imports_are_traced_to_their_event(tmp_path: Path) -> None:
    proposed = e.AnswerProposed(
        event_id=make.event_id(80_000), occurred_at=make.at(9), conversation_id="c1", message_id="m1", method="judge", answer=GOOD, adapter="base",
        judge_model="judge-7b",
    )  # fmt: skip
    async with console(tmp_path, asked(1), make.thumb(1), proposed, example(1, rejected="Nobody knows.")) as client:
        pairs = (await get(client, "/pairs"))["pairs"]
        traces = [await get(client, f"/pairs/{pair['pair_id']}") for pair in pairs]
    assert [trace["evidence"]["type"] for trace in traces] == ["AnswerProposed", "ExampleImported"]
    assert traces[0]["evidence"]["body"]["judge_model"] == pairs[0]["contributor"] == "judge-7b"
    assert traces[1]["answer"] == traces[1]["evidence"]
    assert traces[1]["answer"]["body"]["messages"] == [{"role": "user", "content": "Do you mend oars?"}]
    shown = [_shown(TypeAdapter(PairTrace).validate_python(trace)) for trace in traces]
    assert "proposal  Boots may be returned within 45 days.  (judge, judged by judge-7b)" in shown[0]
    assert "imported by opal from old.csv 0123456789ab 7" in shown[1]


def _shown(trace: PairTrace) -> str:
    told = Console(width=200, file=io.StringIO())
    told.print(pair_tree(trace))
    return told.file.getvalue()


async def test_unpaired_are_the_ratings_that_may_be_trained_on(tmp_path: Path) -> None:
    events = [
        asked(1, answer=GOOD), make.thumb(1, "up"),
        asked(2), make.thumb(2),
        *corrected(3), make.thumb(3),
        asked(4, section=HELD_OUT), make.thumb(4, "up"),
        asked(5, "Who is your director?"), make.thumb(5),
        asked(6, source="cache"), make.thumb(6, "up"),
        asked(7), make.thumb(7, "up"), make.bad_case(7, None),
        example(1, liked=False), example(2, liked=True, split="holdout"), example(3),
    ]  # fmt: skip
    async with console(tmp_path, *events) as client:
        rows = (await get(client, "/unpaired"))["unpaired"]
        first = await get(client, "/unpaired?limit=2")
        rest = await get(client, f"/unpaired?limit=2&after={first['next']}")
    assert [(row["message_id"], row["liked"], row["category"]) for row in rows] == [
        ("m1", True, "returns and refunds"), ("m2", False, "returns and refunds"), (f"i-{1:016x}", False, "repairs"),
    ]  # fmt: skip
    assert rows[0].keys() == {"message_id", "prompt", "answer", "liked", "category", "question", "user", "occurred_at"}
    assert first["unpaired"] + rest["unpaired"] == rows
    assert rest["next"] is None


async def test_ratings_of_an_old_version_are_not_trained_on(tmp_path: Path) -> None:
    changed = make.policy(BOOTS.replace("45", "60"), second=100, number=1)
    async with console(tmp_path, asked(1, answer=GOOD), make.thumb(1, "up"), changed) as client:
        assert (await get(client, "/unpaired"))["unpaired"] == []


async def test_the_next_run_says_what_it_would_hold_and_why_not_the_rest(tmp_path: Path) -> None:
    user = {"user": "u-0000000000000001"}
    questions = [
        "How long may I return boots?",
        "Until when do boots go back?",
        "Do boots have a deadline?",
        "My wellingtons pinch. Too late?",
    ]
    events = [event for number, question in enumerate(questions) for event in corrected(number, question=question, **user)]
    async with console(tmp_path, *events, *corrected(9, section=HELD_OUT, question="May I keep the box?")) as client:
        told = await get(client, "/pairs/next-run")
    assert len(told["taken"]) + len(told["left_out"]) == len(questions)
    assert (len(told["taken"]), told["users"], told["by_source"], told["holdout_pairs"]) == (1, 1, {"correction": 1}, 1)
    assert {entry["reason"] for entry in told["left_out"]} == {"user_share"}
    assert told["min_pairs"] == Settings().trigger.min_pairs


async def test_the_report_is_of_the_period_asked_for(tmp_path: Path) -> None:
    async with console(tmp_path, *corrected(1), *corrected(2, second=500)) as client:
        told = await get(client, "/bad-cases/report?since=2026-01-05T09:05:00Z&until=2026-01-06T00:00:00Z")
    assert (told["cases"], told["since"], told["by_fault"][0]["name"]) == (1, "2026-01-05T09:05:00Z", "generation")
    assert told["clusters"][0]["question"] == QUESTION


async def test_the_view_holds_out_what_the_domain_does(tmp_path: Path) -> None:
    sections = [f"Section {number}" for number in range(80)]
    events = [
        event
        for number, name in enumerate(sections)
        for event in (asked(number, section=name, answer="As you like."), make.thumb(number, "up"))
    ]
    async with console(tmp_path, *events) as client:
        rows = (await get(client, "/unpaired"))["unpaired"]
    assert {row["message_id"] for row in rows} == {f"m{number}" for number, name in enumerate(sections) if not held_out("returns", name)}
    assert len(rows) < len(sections)


@pytest.mark.parametrize("path", ["/pairs", "/pairs/next-run", "/pairs/p-0", "/unpaired", "/bad-cases/report"])
async def test_the_console_shows_nothing_without_the_key(path: str) -> None:
    @asynccontextmanager
    async def idle(app: FastAPI) -> AsyncIterator[None]:
        yield

    parts: Any = SimpleNamespace(secrets=SimpleNamespace(operator_key="right", secret="s"), ledger=None, bus=None, settings=Settings())
    position: Any = SimpleNamespace(caught_up=True)
    app = create_console(parts, position, lambda: {"ok": True, "phase": "following"}, idle)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as client:
        assert (await client.get(f"/v1{path}", headers={"Authorization": "Bearer wrong"})).status_code == 401
