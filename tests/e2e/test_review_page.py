"""The review page in Chromium, served by a real loop with a real ledger and the embedded broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.async_api import Browser, Page, async_playwright, expect

from csqa_loop import bootstrap
from csqa_loop.backends.bus import KafkaBus, read_to_end
from csqa_loop.domain import events as e
from csqa_loop.domain.policies import policy_version
from csqa_loop.domain.preferences import held_out
from csqa_loop.domain.wire import decode
from csqa_loop.settings import ConsoleSettings, KafkaSettings, Settings, TrainingSettings
from streams.loop import create_app
from tests import browser
from tests import events as make
from tests.brokers import Broker, free_port
from tests.fakes.model_server import FakeModelServer

SECTION = "Returns > Footwear"
PASSAGE = f"{SECTION}\nBoots may be returned within 45 days if the soles are clean."
POLICY = "# Returns\n\n## Footwear\n\nBoots may be returned within 45 days if the soles are clean.\n"
GOOD = "Boots may be returned within 45 days if the soles are clean."
MARKUP = "<img src=x onerror=\"document.title='owned'\"> How long may I return boots?"
KEYS = {"anna": "anna-key", "bert": "bert-key"}
PATIENCE_MS = 15_000
assert not held_out("returns", SECTION)


@dataclass
class Console:
    url: str
    settings: Settings

    async def publish(self, *events: e.Event) -> None:
        bus = KafkaBus(self.settings.kafka, self.settings.kafka_servers)
        await bus.start()
        try:
            await bus.publish(*events)
        finally:
            await bus.stop()

    async def decisions(self) -> list[e.ReviewDecided]:
        found = [decode(r.topic, r.value) async for r in read_to_end(self.settings.kafka_servers, self.settings.kafka, ["csqa.bad-cases"])]
        return [event for event in found if isinstance(event, e.ReviewDecided)]

    async def items(self, **asked: str) -> list[dict]:
        async with httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {KEYS['anna']}"}) as client:
            answer = await client.get("/v1/reviews", params={"whole": "true", **asked})
        return answer.raise_for_status().json()["items"]


def asked(number: int, question: str = "How long may I return boots?", answer: str = "Boots may be returned within 30 days.") -> e.AnswerGiven:
    citation = e.Citation(chunk_id="returns#0", policy_id="returns", version=policy_version(POLICY), section=SECTION, score=0.87)
    messages = (
        e.ChatMessage(role="system", content=f"Policy:\n\n{PASSAGE}\n\nAnswer the customer's question."),
        e.ChatMessage(role="user", content=question),
    )
    return make.answer(number, section=SECTION, question=question, messages=messages, answer=answer, citations=(citation,))


def thumb(number: int, comment: str) -> e.FeedbackGiven:
    return make.thumb(number).model_copy(update={"comment": comment})


@pytest.fixture
async def console(tmp_path: Path, mortal_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Console]:
    reason = browser.why_no_browser()
    if reason:
        pytest.skip(reason)
    port = free_port()
    settings = Settings(
        var=tmp_path / "var",
        kafka=KafkaSettings(servers=mortal_broker.servers),
        console=ConsoleSettings(port=port, agent_keys=KEYS),
        training=TrainingSettings(max_length=512),
    )
    monkeypatch.setattr(bootstrap, "build_model_server", lambda _: FakeModelServer())
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, log_level="warning", timeout_graceful_shutdown=2))
    serving = asyncio.create_task(server.serve())
    held = Console(f"http://127.0.0.1:{port}", settings)
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(base_url=held.url) as client:
            while True:
                try:
                    if (await client.get("/health")).json()["caught_up"]:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
        yield held
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    reason = browser.why_no_browser()
    if reason:
        pytest.skip(reason)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=browser.executable(), args=browser.ARGUMENTS)
        yield launched
        await launched.close()


@asynccontextmanager
async def agent(chromium: Browser, console: Console, name: str = "anna", **context: str) -> AsyncIterator[Page]:
    """The page as one agent has it, signed in. Nothing may go wrong in its console, and nothing may be asked of other hosts."""
    held = await chromium.new_context(viewport={"width": 1280, "height": 860}, **({"locale": "en-GB", "timezone_id": "UTC"} | context))
    page = await held.new_page()
    page.set_default_timeout(PATIENCE_MS)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda sent: troubles.append(sent.url) if not sent.url.startswith(console.url) else None)
    await page.goto(f"{console.url}/reviews")
    await page.fill("#key", KEYS[name])
    await page.press("#key", "Enter")
    await expect(page.locator("#desk")).to_be_visible(timeout=PATIENCE_MS)
    yield page
    assert troubles == []
    await held.close()


async def waiting(console: Console, *events: e.Event, items: int) -> None:
    """These events are in the ledger, and so many items are open."""
    await console.publish(make.policy(POLICY), *events)
    async with asyncio.timeout(20):
        while len(await console.items()) < items:
            await asyncio.sleep(0.05)


async def test_a_correction_by_keyboard_becomes_a_pair_and_undoing_takes_it_back(console: Console, chromium: Browser) -> None:
    await waiting(console, asked(1), thumb(1, "That is wrong!"), asked(2, "May I return worn boots?"), make.bad_case(2, None), items=2)
    async with agent(chromium, console) as page:
        entries = page.locator("#queue button")
        await expect(entries).to_have_count(2)
        await expect(page.locator("#question")).to_have_text("May I return worn boots?")  # bad cases come first
        await expect(page.locator("#lease")).to_contain_text("Yours until")
        await page.keyboard.press("j")
        await expect(page.locator("#question")).to_have_text("How long may I return boots?")
        await expect(page.locator("#item")).to_contain_text("That is wrong!")
        passage = page.locator(".panel", has_text=SECTION)
        await expect(passage).to_contain_text(f"version {policy_version(POLICY)}")
        await expect(passage).to_contain_text("Boots may be returned within 45 days if the soles are clean.")
        await expect(page.locator("#do-send")).to_be_enabled()
        await page.keyboard.press("e")
        await page.keyboard.type(GOOD)
        await page.keyboard.press("Control+Enter")
        await expect(page.locator("#said")).to_contain_text("It became a preference pair.")
        await expect(entries).to_have_count(1)
        (decided,) = await console.decisions()
        assert (decided.action, decided.message_id, decided.corrected_answer, decided.reviewer) == ("correct", "m1", GOOD, "anna")
        (item,) = await console.items(state="decided")
        assert [pair["state"] for pair in item["made"]] == ["fresh"]

        await page.keyboard.press("u")
        await expect(page.locator("#said")).to_contain_text("Undone")
        await expect(entries).to_have_count(2)
        await expect(page.locator("#question")).to_have_text("How long may I return boots?")
        assert [decision.action for decision in await console.decisions()] == ["correct", "reopen"]
        (item,) = [item for item in await console.items() if item["message_id"] == "m1"]
        assert [pair["state"] for pair in item["made"]] == ["withdrawn"]


async def test_a_held_pair_is_approved_and_an_answer_rejected(console: Console, chromium: Browser) -> None:
    proposal = e.AnswerProposed(
        occurred_at=make.at(5), conversation_id="c1", message_id="m1", method="resample", answer="Boots: 99 days.", adapter="base", judge_model="j"
    )
    await waiting(console, asked(1), make.thumb(1), proposal, asked(2, "And sandals?"), make.thumb(2), items=2)
    async with agent(chromium, console) as page:
        await expect(page.locator("#question")).to_have_text("And sandals?")
        await expect(page.locator("#do-reject")).to_be_enabled()
        await page.keyboard.press("x")
        await expect(page.locator("#item")).to_contain_text("unsupported: states 99, which the prompt does not")
        await expect(page.locator("#correction")).to_have_value("Boots: 99 days.")
        await expect(page.locator("#do-approve")).to_be_enabled()
        await page.keyboard.press("a")
        await expect(page.locator("#item")).to_contain_text("Nothing is waiting.")
    assert [decision.action for decision in await console.decisions()] == ["reject", "approve"]


async def test_the_second_agent_sees_who_has_the_item(console: Console, chromium: Browser) -> None:
    await waiting(console, asked(1), make.thumb(1), items=1)
    async with agent(chromium, console, "anna") as first, agent(chromium, console, "bert") as second:
        await expect(first.locator("#lease")).to_contain_text("Yours until")
        await expect(second.locator("#lease")).to_contain_text("anna has this until")
        await expect(second.locator("#do-send")).to_be_disabled()
        await second.keyboard.press("x")
        await first.click("#sign-out")
        await second.reload()
        await expect(second.locator("#lease")).to_contain_text("Yours until")
    assert await console.decisions() == []


async def test_a_wrong_key_opens_nothing(console: Console, chromium: Browser) -> None:
    page = await chromium.new_page(locale="en-GB")
    await page.goto(f"{console.url}/reviews")
    await page.fill("#key", "guessed")
    await page.press("#key", "Enter")
    await expect(page.locator("#key-error")).to_contain_text("not known here", timeout=PATIENCE_MS)
    await expect(page.locator("#desk")).to_be_hidden()
    await page.close()


async def test_markup_of_customers_is_text(console: Console, chromium: Browser) -> None:
    await waiting(console, asked(1, MARKUP, answer="<b>30</b> days"), thumb(1, "<script>alert(1)</script>"), items=1)
    async with agent(chromium, console) as page:
        await expect(page.locator("#question")).to_have_text(MARKUP)
        await expect(page.locator("#queue .asked")).to_have_text(MARKUP)
        await expect(page.locator("#item")).to_contain_text("<script>alert(1)</script>")
        assert await page.locator("#desk img, #desk script, #desk b:text('30')").count() == 0
        assert await page.title() == "Review queue"


async def test_it_speaks_chinese_and_explains_its_keys(console: Console, chromium: Browser) -> None:
    async with agent(chromium, console, locale="zh-CN", color_scheme="dark") as page:
        await expect(page.locator("#item")).to_contain_text("没有待处理的条目")
        assert await page.get_attribute("html", "lang") == "zh"
        await page.keyboard.press("?")
        await expect(page.locator("#keys")).to_contain_text("撤销上一个决定")
