"""The review page in Chromium, served by a real loop with a real ledger and the embedded broker."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from csqa_loop import bootstrap
from csqa_loop import events as e
from csqa_loop.events.wire import decode
from csqa_loop.evidence.rules.pairs import held_out
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.log import KafkaBus, read_to_end
from csqa_loop.settings import ConsoleSettings, KafkaSettings, Settings, TrainingSettings
from streams.loop import create_app
from tests import brokers, browser
from tests import events as make
from tests.brokers import free_port
from tests.fakes.model_server import FakeModelServer

SECTION = "Returns > Footwear"
PASSAGE = f"{SECTION}\nBoots may be returned within 45 days if the soles are clean."
POLICY = "# Returns\n\n## Footwear\n\nBoots may be returned within 45 days if the soles are clean.\n"
GOOD = "Boots may be returned within 45 days if the soles are clean."
KEYS = {"anna": "anna-key", "bert": "bert-key"}
expect.set_options(timeout=20_000)
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

    async def decisions(self, *message_ids: str) -> list[e.ReviewDecided]:
        found = [decode(r.topic, r.value) async for r in read_to_end(self.settings.kafka_servers, self.settings.kafka, ["csqa.bad-cases"])]
        return [event for event in found if isinstance(event, e.ReviewDecided) and event.message_id in message_ids]

    async def items(self, **asked: str) -> list[dict]:
        async with httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {KEYS['anna']}"}) as client:
            answer = await client.get("/v1/reviews", params={"whole": "true", **asked})
        return answer.raise_for_status().json()["items"]

    async def item(self, message_id: str, state: str) -> dict:
        """The item of a message, once the ledger has it in this state."""
        async with asyncio.timeout(30):
            while True:
                for item in await self.items(state=state):
                    if item["message_id"] == message_id:
                        return item
                await asyncio.sleep(0.05)


def asked(number: int, question: str, answer: str = "Boots may be returned within 30 days.") -> e.AnswerGiven:
    citation = e.Citation(chunk_id="returns#0", policy_id="returns", version=policy_version(POLICY), section=SECTION, score=0.87)
    messages = (
        e.ChatMessage(role="system", content=f"Policy:\n\n{PASSAGE}\n\nAnswer the customer's question."),
        e.ChatMessage(role="user", content=question),
    )
    return make.answer(number, section=SECTION, question=question, messages=messages, answer=answer, citations=(citation,))


def thumb(number: int, comment: str) -> e.FeedbackGiven:
    return make.thumb(number).model_copy(update={"comment": comment})


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """One loop for all tests: each has questions with a word of its own, and searches for it."""
    if reason := browser.why_no_browser():
        pytest.skip(reason)  # no package registry has a browser; what the page calls is tested without one
    broker, port = brokers.embedded(), free_port()
    settings = Settings(
        var=tmp_path_factory.mktemp("var"),
        kafka=KafkaSettings(servers=broker.servers),
        console=ConsoleSettings(port=port, agent_keys=KEYS),
        training=TrainingSettings(max_length=512),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "build_model_server", lambda _: FakeModelServer())
        server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run)
    broker.start()
    thread.start()
    try:
        asyncio.run(_caught_up(f"http://127.0.0.1:{port}"))
        yield Console(f"http://127.0.0.1:{port}", settings)
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        broker.kill()


async def _caught_up(url: str) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=url) as client:
        while True:
            try:
                if (await client.get("/health")).json()["caught_up"]:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    if reason := browser.why_no_browser():
        pytest.skip(reason)  # no package registry has a browser, and only root on Debian is given one by `make test`
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=browser.executable(), args=browser.ARGUMENTS)
        yield launched
        await launched.close()


@asynccontextmanager
async def agent(chromium: Browser, console: Console, word: str, name: str = "anna", **context: str) -> AsyncIterator[Page]:
    """The page as one agent has it, signed in, with the items that hold `word`. Nothing may go wrong in its console, and nothing may be asked of other hosts."""
    held = await chromium.new_context(viewport={"width": 1280, "height": 860}, **({"locale": "en-GB", "timezone_id": "UTC"} | context))
    page = await held.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda sent: troubles.append(sent.url) if not sent.url.startswith(console.url) else None)
    await page.goto(f"{console.url}/reviews")
    await page.fill("#key", KEYS[name])
    await page.press("#key", "Enter")
    await expect(page.locator("#desk")).to_be_visible()
    await page.fill("#search", word)
    await page.press("#search", "Enter")
    yield page
    assert troubles == []
    await held.close()


async def waiting(console: Console, word: str, *events: e.Event, items: int) -> None:
    """These events are in the ledger, and so many items that hold `word` are open."""
    await console.publish(make.policy(POLICY), *events)
    async with asyncio.timeout(30):
        while len(await console.items(q=word)) < items:
            await asyncio.sleep(0.05)


async def test_a_correction_by_keyboard_becomes_a_pair_and_undoing_takes_it_back(console: Console, chromium: Browser) -> None:
    said = (
        asked(1, "How long may I return boots?"),
        thumb(1, "That is wrong!"),
        asked(2, "May I return worn boots?"),
        make.bad_case(2, None),
    )
    await waiting(console, "boots?", *said, items=2)
    async with agent(chromium, console, "boots?") as page:
        entries = page.locator("#queue button")
        await expect(entries).to_have_count(2)
        await expect(page.locator("#question")).to_have_text("May I return worn boots?")  # bad cases come first
        await expect(page.locator("#lease")).to_contain_text("Yours until")
        await page.keyboard.press("j")
        await expect(page.locator("#question")).to_have_text("How long may I return boots?")
        await expect(page.locator("#item")).to_contain_text("That is wrong!")
        passage = page.locator("div.panel", has_text=SECTION)
        await expect(passage).to_contain_text(f"version {policy_version(POLICY)}")
        await expect(passage).to_contain_text(GOOD)
        await page.keyboard.press("e")
        await page.keyboard.type(GOOD)
        await page.keyboard.press("Control+Enter")
        await expect(page.locator("#said")).to_contain_text("Correction sent.")
        await expect(page.locator("#question")).to_have_text("May I return worn boots?")
        (decided,) = await console.decisions("m1")
        assert (decided.action, decided.corrected_answer, decided.reviewer) == ("correct", GOOD, "anna")
        item = await console.item("m1", "decided")
        assert [pair["state"] for pair in item["made"]] == ["fresh"]

        await expect(page.locator("#lease")).to_contain_text("Yours until")
        await page.keyboard.press("u")
        await expect(page.locator("#said")).to_contain_text("Undone")
        assert [decision.action for decision in await console.decisions("m1")] == ["correct", "reopen"]
        item = await console.item("m1", "open")
        assert [pair["state"] for pair in item["made"]] == ["withdrawn"]


async def test_a_held_pair_is_approved_and_an_answer_rejected(console: Console, chromium: Browser) -> None:
    proposal = e.AnswerProposed(
        occurred_at=make.at(5), conversation_id="c11", message_id="m11", method="resample", answer="Boots: 99 days.", adapter="base",
        judge_model="j",
    )  # fmt: skip
    said = (asked(11, "Are sandals boots?"), make.thumb(11), proposal, asked(12, "And sandals?"), make.thumb(12))
    await waiting(console, "sandals", *said, items=2)
    async with agent(chromium, console, "sandals") as page:
        await expect(page.locator("#question")).to_have_text("And sandals?")
        may_lease = asyncio.Event()

        async def hold(route: Route) -> None:
            await may_lease.wait()
            await route.continue_()

        await expect(page.locator("#lease")).to_contain_text("Yours until")
        await page.route("**/lease", hold)
        await page.keyboard.press("x")
        await expect(page.locator("#item")).to_contain_text("unsupported: states 99, which the prompt does not")
        await expect(page.locator("#correction")).to_have_value("Boots: 99 days.")
        await page.keyboard.press("a")  # sooner than the lease comes
        may_lease.set()
        await expect(page.locator("#item")).to_contain_text("Nothing matches.")
    assert [decision.action for decision in await console.decisions("m11", "m12")] == ["reject", "approve"]


async def test_the_second_agent_sees_who_has_the_item(console: Console, chromium: Browser) -> None:
    await waiting(console, "slippers", asked(21, "May I return slippers?"), make.thumb(21), items=1)
    async with agent(chromium, console, "slippers", "anna") as first:
        await expect(first.locator("#lease")).to_contain_text("Yours until")
        async with agent(chromium, console, "slippers", "bert") as second:
            await expect(second.locator("#lease")).to_contain_text("anna has this until")
            await expect(second.locator("#do-send")).to_be_disabled()
            await second.keyboard.press("x")
            await first.click("#sign-out")
            await expect(first.locator("#key")).to_be_visible()
            await second.press("#search", "Enter")
            await expect(second.locator("#lease")).to_contain_text("Yours until")
    assert await console.decisions("m21") == []


async def test_a_wrong_key_opens_nothing(console: Console, chromium: Browser) -> None:
    page = await chromium.new_page(locale="en-GB")
    await page.goto(f"{console.url}/reviews")
    await page.fill("#key", "guessed")
    await page.press("#key", "Enter")
    await expect(page.locator("#key-error")).to_contain_text("not known here")
    await expect(page.locator("#desk")).to_be_hidden()
    await page.close()


async def test_markup_of_customers_is_text(console: Console, chromium: Browser) -> None:
    markup = "<img src=x onerror=\"document.title='owned'\"> How long may I return clogs?"
    await waiting(console, "clogs", asked(31, markup, answer="<b>30</b> days"), thumb(31, "<script>alert(1)</script>"), items=1)
    async with agent(chromium, console, "clogs") as page:
        await expect(page.locator("#question")).to_have_text(markup)
        await expect(page.locator("#queue .asked")).to_have_text(markup)
        await expect(page.locator("#item")).to_contain_text("<script>alert(1)</script>")
        assert await page.locator("#desk img, #desk script, #desk b:text('30')").count() == 0
        assert await page.title() == "Review queue"


async def test_it_speaks_chinese_and_explains_its_keys(console: Console, chromium: Browser) -> None:
    async with agent(chromium, console, "没有这个词", locale="zh-CN", color_scheme="dark") as page:
        await expect(page.locator("#item")).to_contain_text("没有匹配的条目")
        assert await page.get_attribute("html", "lang") == "zh"
        await page.focus("#show-keys")
        await page.keyboard.press("?")
        await expect(page.locator("#keys")).to_contain_text("撤销上一个决定")
