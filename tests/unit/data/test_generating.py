"""New examples are asked for one by one, filtered, and what is finished is not asked for again."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from csqa_loop.data.generating import GenerationMethod, Generator, Made, MadeFrom, generate, read_part
from csqa_loop.data.rules.examples import Example
from csqa_loop.data.seen import SeenBefore
from csqa_loop.data.wording_files import generation_prompts
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.events import ChatMessage
from tests.fakes.judge import FakeJudge

PROMPTS = generation_prompts()


def source(number: int) -> tuple[int, Example]:
    topics = ("electronics", "furniture", "shoes", "books", "bicycles", "garden tools")
    system = ChatMessage(role="system", content=f"Policy: {topics[number]} may be returned within {10 + number} days.")
    question = ChatMessage(role="user", content=f"What is the deadline to return {topics[number]}?")
    return number + 1, Example((system, question), f"Within {10 + number} days.", "Never.", category="returns")


def made_from(seed: int = 1, method: GenerationMethod = "self-instruct", source: str = "0123") -> MadeFrom:
    return MadeFrom(method, "tickets.jsonl", source, seed)


def written(question: str, answer: str) -> str:
    return "Sure! " + json.dumps({"question": question, "answer": answer})


class Run:
    """One run of `generate` over sources, with a fake judge and without pauses."""

    def __init__(self, part: Path, judge: FakeJudge, method: GenerationMethod = "self-instruct") -> None:
        self.part, self.judge, self.method = part, judge, method
        self.pauses: list[float] = []

    async def __call__(self, sources: Sequence[tuple[int, Example]], *, wanted: int = 100, seed: int = 1) -> list[Made]:
        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        with SeenBefore() as seen:
            generator = Generator(self.judge, PROMPTS, self.method, seen, sleep=sleep)
            return await generate(generator, sources, self.part, made_from(seed, self.method), wanted=wanted, told=lambda entry: None)


def inventive(messages: Sequence[ChatMessage]) -> str:
    days = next(word for word in messages[-1].content.split() if word.isdigit())
    return written(
        f"My {days}th cousin gave me a present that I dislike, may it still go back in {days} days?", f"Yes, within {days} days."
    )


async def test_a_new_example_stands_on_its_source(tmp_path: Path) -> None:
    number, original = source(2)
    [made] = await Run(tmp_path / "x.part", FakeJudge(inventive))([(number, original)])
    assert made.example is not None
    assert made.example.messages[0] == original.messages[0]
    assert made.example.answer == "Yes, within 12 days."
    assert (made.example.rejected, made.example.category, made.example.generator) == (None, "returns", "self-instruct:fake-judge")


async def test_back_translation_keeps_the_answers(tmp_path: Path) -> None:
    replies = iter(["退货期限是多久？", "By when must a pair of shoes be sent back to you?"])
    judge = FakeJudge(lambda messages: next(replies))
    [made] = await Run(tmp_path / "x.part", judge, "back-translation")([source(2)])
    assert made.example is not None
    assert (made.example.question, made.example.answer, made.example.rejected) == (
        "By when must a pair of shoes be sent back to you?", "Within 12 days.", "Never.",
    )  # fmt: skip
    assert "into Chinese" in judge.asked[0][0].content
    assert "into English" in judge.asked[1][0].content
    assert "退货期限是多久？" in judge.asked[1][0].content


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I would rather not.", "no JSON object"),
        (written("Hm?", "Within 12 days."), "too short"),
        (written("May I " + "really " * 100 + "return it?", "Within 12 days."), "too long"),
        (written("May I return sandals?", ""), "answers nothing"),
        (written("May I return sandals?", "As an AI I do not know that."), "answers nothing"),
        (written("我可以退凉鞋吗？这双鞋不合脚。", "可以。"), "another language"),
        (written("May I return sandals?", "Within 90 days."), "states 90"),
        (written("?" * 20, "Within 12 days."), "holds no letters"),
        (written("\0" * 9, "Within 12 days."), "holds no letters"),
        (written("May I return \ud800 sandals?", "Within 12 days."), "surrogate"),
        ("\ud800" + written("May I return sandals?", "Within 12 days."), "surrogate"),
        ("{" * 100_000, "no JSON object"),
        (written("What is the deadline to return shoes ?", "Within 12 days."), "nearly repeats that of line 3"),
    ],
)
async def test_what_may_not_stand_beside_people_is_left_out(tmp_path: Path, reply: str, reason: str) -> None:
    [made] = await Run(tmp_path / "x.part", FakeJudge(lambda messages: reply))([source(2)])
    assert made.example is None
    assert reason in made.refused


async def test_a_second_run_goes_on_and_ends_where_one_run_would(tmp_path: Path) -> None:
    sources = [source(number) for number in range(6)]
    whole = await Run(tmp_path / "whole.part", FakeJudge(inventive))(sources)
    judge = FakeJudge(inventive)
    part = tmp_path / "x.part"
    first = await Run(part, judge)(sources, wanted=2)
    with part.open("a") as handle:
        handle.write('{"line": 3, "exam')  # the power went
    rest = await Run(part, judge)(sources)
    assert rest[: len(first)] == first
    assert rest == whole == list(read_part(part, made_from()))
    assert len(judge.asked) == 6


async def test_the_seed_decides_which_rows_come_first(tmp_path: Path) -> None:
    sources = [source(number) for number in range(6)]
    firsts = [
        [entry.line for entry in await Run(tmp_path / f"{name}.part", FakeJudge(inventive))(sources, wanted=3, seed=seed)]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert firsts[0] == firsts[1] != firsts[2]


async def test_a_row_without_an_answer_is_refused_after_pauses_and_the_others_go_on(tmp_path: Path) -> None:
    def moody(messages: Sequence[ChatMessage]) -> str:
        if "shoes" in messages[-1].content:
            raise TransientError("the judge is busy")
        return inventive(messages)

    run = Run(tmp_path / "x.part", FakeJudge(moody))
    finished = await run([source(number) for number in range(4)])
    assert [(entry.line, entry.refused) for entry in finished if entry.refused] == [(3, "the judge is busy")]
    assert sum(entry.example is not None for entry in finished) == 3
    assert run.pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(("mode", "error"), [("down", TransientError), ("refuses", PermanentError)])
async def test_a_judge_that_is_gone_refuses_no_row(tmp_path: Path, mode: str, error: type[Exception]) -> None:
    judge, part = FakeJudge(inventive, mode=mode), tmp_path / "x.part"
    sources = [source(number) for number in range(6)]
    with pytest.raises(error, match="run the same command again"):
        await Run(part, judge)(sources)
    assert list(read_part(part, made_from())) == []
    judge.mode = "well"
    assert all(entry.example for entry in await Run(part, judge)(sources))


async def test_what_a_judge_writes_is_cleaned_and_a_second_run_reads_it(tmp_path: Path) -> None:
    sources = [source(number) for number in range(2)]
    part = tmp_path / "x.part"
    replies = iter(
        [
            written("May I bring\u2028 the thing back?\u200b", "Yes,\x85 you may."),
            written("Who would pay me for a ride home?", "Nobody does."),
        ]
    )
    judge = FakeJudge(lambda messages: next(replies))
    [first] = await Run(part, judge)(sources, wanted=1)
    assert first.example is not None
    assert (first.example.question, first.example.answer) == ("May I bring\n the thing back?", "Yes,\n you may.")
    assert first.example.made_from in {example.question for _, example in sources}
    assert (await Run(part, judge)(sources))[0] == first


def test_a_part_is_split_at_line_feeds_alone(tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    head = {"made_from": {"method": "self-instruct", "file": "other name.jsonl", "source": "0123", "seed": 1}}
    entry = {"line": 1, "question": "q\u2028\x85", "example": None, "refused": "no"}
    part.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in (head, entry)) + '{"line": 2, "ques')
    assert list(read_part(part, made_from())) == [Made(1, "q\u2028\x85", refused="no")]


@pytest.mark.parametrize("other", [made_from(2), made_from(method="evol-instruct"), made_from(source="4567")])
async def test_rows_of_two_runs_do_not_mix(tmp_path: Path, other: MadeFrom) -> None:
    part = tmp_path / "x.part"
    await Run(part, FakeJudge(inventive))([source(0), source(1)], wanted=1)
    before = part.read_bytes()
    with SeenBefore() as seen, pytest.raises(PermanentError) as caught:
        await generate(
            Generator(FakeJudge(inventive), PROMPTS, other.method, seen), [source(1)], part, other, wanted=9, told=lambda entry: None
        )
    assert f"{made_from()}, and this would be {other}" in str(caught.value)
    assert "another --out" in str(caught.value)
    assert part.read_bytes() == before


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    part.write_text('{"line": 1}\n')
    with pytest.raises(PermanentError, match=r"x\.part, line 1"):
        list(read_part(part, made_from()))


async def test_each_answer_of_a_conversation_is_a_source_of_its_own(tmp_path: Path) -> None:
    sources = [(7, source(number)[1]) for number in range(4)]
    part, judge = tmp_path / "x.part", FakeJudge(inventive)
    await Run(part, judge)(sources, wanted=1)
    assert len(await Run(part, judge)(sources)) == 4
    assert len(judge.asked) == 4
