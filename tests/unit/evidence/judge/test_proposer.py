"""Better answers that models find, and everything that must not become one."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from csqa_loop.events import AnswerProposed, ChatMessage, derived_id
from csqa_loop.evidence.judge.proposer import ProposalStatus
from csqa_loop.evidence.judge.rules.judging import PROMPT_VERSION
from csqa_loop.evidence.judge.rules.prompts import parse_judge_prompt
from csqa_loop.ledger.rules.masking import masked_event
from csqa_loop.settings import AnswerSettings, JudgeSettings
from tests.desk import BAD, BEST, CHAMPION, GOOD, SYSTEM, Desk, Says, case, merit
from tests.fakes.judge import FakeJudge, by_merit
from tests.run_directories import NOW
from tests.waiting import eventually


async def test_the_best_of_what_the_champion_says_when_asked_again_is_proposed() -> None:
    desk = Desk()
    await desk.proposer.beat()
    assert desk.proposals == [
        AnswerProposed(
            event_id=derived_id("m1", "AnswerProposed", "resample"),
            occurred_at=NOW,
            conversation_id="c1",
            message_id="m1",
            method="resample",
            answer=BEST,
            adapter=CHAMPION,
            judge_model="fake-judge",
            judge_prompt_version=PROMPT_VERSION,
        )
    ]
    assert desk.proposer.status().proposed == {"resample": 1, "judge": 0}


async def test_the_prompt_that_the_judge_was_asked_with_is_on_record() -> None:
    prompt = parse_judge_prompt("{question}\n## Answer A\n{answer_a}\n## Answer B\n{answer_b}", "f")
    desk = Desk(prompt=prompt)
    await desk.beats(1)
    assert [proposal.judge_prompt_version for proposal in desk.proposals] == [prompt.version]
    assert prompt.version != PROMPT_VERSION


async def test_the_best_is_found_in_any_order() -> None:
    desk = Desk(says=Says(BEST, GOOD))
    await desk.proposer.beat()
    assert [event.answer for event in desk.proposals] == [BEST]


async def test_the_champion_gets_the_same_messages_with_seeds_of_the_message() -> None:
    asked = []
    for _ in range(2):
        desk = Desk(cases=[case(1), case(2)])
        await desk.beats(2)
        asked.append(sorted((messages[-1].content, sampling.seed) for _, messages, sampling in desk.server.asked))
        assert {messages for _, messages, _ in desk.server.asked} == {case(1).messages, case(2).messages}
        assert {(adapter, sampling.temperature) for adapter, _, sampling in desk.server.asked} == {(CHAMPION, 0.8)}
    assert asked[0] == asked[1]
    assert len({seed for _, seed in asked[0]}) == 6


async def test_a_champion_that_repeats_itself_costs_no_comparison() -> None:
    desk = Desk(says=Says(BAD, "you have 30 days", ""))
    await desk.proposer.beat()
    assert desk.proposals == []
    assert len(desk.judge.asked) == 1  # to write an answer, which it does not know
    assert desk.proposer.status().ties == 1


async def test_samples_that_state_other_numbers_than_the_policy_are_not_judged() -> None:
    desk = Desk(says=Says("You have 15 days.", "You have 14 to 20 days."), judge=FakeJudge(by_merit(lambda answer: answer != BAD)))
    await desk.proposer.beat()
    assert desk.proposals == []


async def test_personal_data_is_neither_compared_nor_proposed() -> None:
    masked = replace(case(), answer="Write to [email].")
    says = Says("Write to jane.roe@example.com within 14 days, unused and in its box.", BEST)
    desk = Desk(cases=[masked], says=says, judge=FakeJudge(by_merit(len)))
    await desk.proposer.beat()
    assert [event.answer for event in desk.proposals] == [BEST]
    assert not any("jane" in messages[1].content for messages in desk.judge.asked)


async def test_a_contact_of_the_excerpts_is_on_record_as_it_was_proposed() -> None:
    system = ChatMessage(role="system", content=f"{SYSTEM} Write to jo.b@harbour.example.")
    better = "Write to jo.b@harbour.example within 14 days."
    desk = Desk(cases=[replace(case(), messages=(system, case().messages[-1]))], says=Says(better), judge=FakeJudge(by_merit(len)))
    await desk.proposer.beat()
    (proposed,) = desk.proposals
    assert (proposed.answer, masked_event(b"secret", proposed)) == (better, proposed)


async def test_samples_that_were_cut_off_are_not_judged() -> None:
    desk = Desk(says=Says(BEST), answering=AnswerSettings(max_tokens=5))
    await desk.proposer.beat()
    assert desk.proposals == []


async def test_the_judge_writes_what_the_champion_cannot_say() -> None:
    desk = Desk(says=Says(BAD), judge=FakeJudge(by_merit(merit, writes=GOOD)))
    await desk.proposer.beat()
    (proposal,) = desk.proposals
    assert (proposal.method, proposal.answer, proposal.adapter) == ("judge", GOOD, case().adapter)
    assert proposal.event_id == derived_id("m1", "AnswerProposed", "judge")


@pytest.mark.parametrize("writes", ["", BAD, "You have 60 days.", "You have 14 days, or 21 for members."])
async def test_the_judge_cannot_say_more_than_the_policy(writes: str) -> None:
    desk = Desk(says=Says(BAD), judge=FakeJudge(by_merit(lambda answer: answer != BAD, writes=writes)))
    await desk.proposer.beat()
    assert desk.proposals == []
    assert desk.proposer.status().ties == 1


async def test_the_judges_own_answer_must_win_too() -> None:
    desk = Desk(says=Says(BAD), judge=FakeJudge(by_merit(lambda _: 0, writes=GOOD)))
    await desk.proposer.beat()
    assert desk.proposals == []


async def test_a_judge_that_always_says_tie_proposes_nothing() -> None:
    desk = Desk(cases=[case(number) for number in range(30)], judge=FakeJudge(lambda _: '{"winner": "tie", "answer": ""}'))
    assert await desk.beats(20) == []
    status = desk.proposer.status()
    assert desk.proposals == []
    assert (status.tried, status.ties, status.position_bias.named) == (30, 30, None)


async def test_nothing_is_proposed_before_the_judge_has_shown_that_it_reads_and_then_nothing_is_lost() -> None:
    desk = Desk(cases=[case(number) for number in range(8)], known=False)
    await desk.beats(1)
    status = desk.proposer.status()
    assert (desk.proposals, status.withheld, status.position_bias.trusted) == ([], 2, False)
    await desk.beats(6)
    status = desk.proposer.status()
    assert {event.message_id for event in desk.proposals} == {f"m{number}" for number in range(8)}
    assert (status.tried, status.withheld, status.position_bias.trusted) == (8, 0, True)


async def test_a_judge_that_throws_dice_proposes_nothing_from_two_hundred_cases() -> None:
    dice = random.Random(1)
    judge = FakeJudge(lambda _: json.dumps({"winner": dice.choice("AB"), "answer": GOOD}))
    desk = Desk(cases=[case(number) for number in range(200)], judge=judge, known=False)
    await desk.beats(150)
    assert desk.proposals == []
    assert desk.proposer.status().tried >= 200


async def test_a_judge_that_always_says_a_proposes_nothing_and_is_named() -> None:
    desk = Desk(known=False, cases=[case(number) for number in range(30)], judge=FakeJudge(lambda _: '{"winner": "A", "answer": ""}'))
    errors = await desk.beats(20)
    assert desk.proposals == []
    assert errors[-1].startswith("the judge prefers what stands first: ")
    assert desk.proposer.status().position_bias.changed == 1.0


async def test_a_biased_judge_that_agrees_with_itself_now_and_then_is_not_believed() -> None:
    dull = FakeJudge(lambda _: '{"winner": "A", "answer": ""}')
    desk = Desk(cases=[case(number) for number in range(40)], judge=dull, known=False)
    await desk.beats(10)
    assert desk.proposer.status().position_bias.named
    desk.judge.reply = by_merit(merit)
    assert len(await desk.beats(1)) == 1
    assert desk.proposals == []
    await desk.beats(60)  # now it reads, and the last hundred comparisons come to show it
    assert desk.proposer.status().position_bias.named is None
    assert desk.proposals


@pytest.mark.parametrize(
    "reply",
    ["A is better.", '{"winner": "A"', '{"winner": 1}', "", '{"winner": "A"} {"winner": "B"}'],
    ids=["prose", "broken", "not a letter", "empty", "two winners"],
)
async def test_an_unreadable_judge_is_asked_three_times_a_case(reply: str) -> None:
    desk = Desk(cases=[case(1), case(2)], judge=FakeJudge(lambda _: reply))
    assert await desk.beats(12) == []
    status = desk.proposer.status()
    assert desk.proposals == []
    assert (status.tried, status.unreadable, status.given_up, status.ties) == (6, 6, 2, 0)
    assert "try 3 of 3: the judge fake-judge replied" in status.last_error.message


async def test_a_writer_that_cannot_be_read_proposes_nothing() -> None:
    desk = Desk(says=Says(BAD), judge=FakeJudge(lambda _: GOOD))
    await desk.beats(6)
    assert desk.proposals == []
    assert desk.proposer.status().unreadable == 3


async def test_a_judge_that_refuses_is_told() -> None:
    desk = Desk(judge=FakeJudge(mode="refuses"))
    await desk.beats(8)
    status = desk.proposer.status()
    assert (status.judge_errors, status.given_up) == (3, 1)
    assert "refused the request with 401" in status.last_error.message


async def test_a_judge_that_is_down_loses_no_case() -> None:
    desk = Desk(cases=[case(number) for number in range(5)], judge=FakeJudge(by_merit(merit), mode="down"))
    errors = await desk.beats(12)
    assert set(errors) == {"the judge at http://fake-judge does not answer"}
    assert {asked[1].content for asked in desk.judge.asked if "laptop 4" in asked[1].content}, "a case stood in the way of the others"
    desk.judge.mode = "well"
    await desk.beats(8)
    assert {event.message_id for event in desk.proposals} == {f"m{number}" for number in range(5)}


async def test_a_model_server_that_is_down_loses_no_case() -> None:
    desk = Desk()
    desk.server.down = True
    assert await desk.beats(1) == ["the fake model server is down"]
    desk.server.down = False
    await desk.beats(2)
    assert len(desk.proposals) == 1


async def test_an_error_that_nobody_foresaw_costs_three_tries_of_one_case() -> None:
    def reply(messages: Sequence[ChatMessage]) -> str:
        if "laptop 1" in messages[-1].content:
            raise ZeroDivisionError("of all things")
        return by_merit(merit)(messages)

    desk = Desk(cases=[case(1), case(2)], judge=FakeJudge(reply))
    await desk.beats(10)
    assert [event.message_id for event in desk.proposals] == ["m2"]
    assert desk.proposer.status().given_up == 1


async def test_only_as_many_at_once_as_settings_say() -> None:
    gate = asyncio.Event()
    settings = JudgeSettings(url="http://judge", model="j", concurrency=3)
    desk = Desk(cases=[case(number) for number in range(9)], judge=FakeJudge(by_merit(merit), gate=gate), settings=settings)
    beat = asyncio.create_task(desk.proposer.beat())
    await eventually(lambda: desk.judge.in_hand == 3, "three cases in hand")
    gate.set()
    await beat
    assert desk.judge.most_in_hand == 3
    assert len(desk.proposals) == 3


async def test_only_as_many_in_an_hour_as_settings_say() -> None:
    settings = JudgeSettings(url="http://judge", model="j", per_hour=3)
    desk = Desk(cases=[case(number) for number in range(9)], settings=settings)
    await desk.beats(10)
    assert len(desk.proposals) == 3
    desk.now += timedelta(minutes=59)
    await desk.beats(10)
    assert len(desk.proposals) == 3
    desk.now += timedelta(minutes=1)
    await desk.beats(10)
    assert len(desk.proposals) == 6


async def test_a_case_without_a_better_answer_waits_for_another_champion() -> None:
    desk = Desk(says=Says(BAD, BAD, BAD, GOOD))
    await desk.beats(5)
    assert desk.proposer.status().tried == 1
    desk.champion = "base"
    await desk.beats(5)
    assert [event.adapter for event in desk.proposals] == ["base"]


async def test_a_proposal_that_is_not_back_from_the_log_is_sent_again_byte_for_byte() -> None:
    desk = Desk()
    desk.ledger.cut = True
    assert "not yet back from the log" in (await desk.beats(1))[0]
    desk.now += timedelta(seconds=5)
    desk.champion = "base"
    await desk.beats(2)
    desk.ledger.cut = False
    await desk.beats(2)
    assert len({record.value for record in desk.bus.records}) == 1
    assert desk.proposer.status().tried == 1


async def test_a_log_that_is_down_loses_no_proposal() -> None:
    desk = Desk()
    desk.bus.fail(3)
    assert len(await desk.beats(3)) == 3
    await desk.beats(1)
    assert len(desk.proposals) == 1


def test_the_status_is_json() -> None:
    assert json.loads(TypeAdapter(ProposalStatus).dump_json(Desk().proposer.status()))["judge"] == "fake-judge"
