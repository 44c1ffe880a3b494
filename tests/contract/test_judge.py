"""What every judge keeps to: one suite for the fake and for `EndpointJudge` before a local endpoint."""

import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from csqa_loop.errors import ConfigurationError, PermanentError, TransientError
from csqa_loop.events import ChatMessage
from csqa_loop.evidence.judge.endpoint import EndpointJudge
from csqa_loop.evidence.judge.judge import Judge
from csqa_loop.settings import JudgeSettings
from tests.fakes.judge import FakeJudge, Mode

MESSAGES = (ChatMessage(role="system", content="Compare."), ChatMessage(role="user", content="14 天 or 30 days?"))
STATUSES = {"busy": 429, "broken": 500, "refuses": 401}


@dataclass
class Bench:
    """A judge, and how to make it behave."""

    judge: Judge
    be: Callable[[Mode], None]


async def ask(judge: Judge) -> str:
    return await judge.complete(MESSAGES, max_tokens=64, temperature=0.0)


class JudgeContract:
    """The suite. A subclass gives `bench`; its judge replies with the last message."""

    async def test_it_replies_to_the_messages(self, bench: Bench) -> None:
        assert await ask(bench.judge) == "14 天 or 30 days?"

    async def test_it_has_a_name(self, bench: Bench) -> None:
        assert bench.judge.model == "fake-judge"

    @pytest.mark.parametrize(
        ("mode", "said"), [("down", "does not answer"), ("slow", "does not answer"), ("busy", "answered 429"), ("broken", "answered 500")]
    )
    async def test_what_may_pass_is_transient_and_says_where(self, bench: Bench, mode: Mode, said: str) -> None:
        bench.be(mode)
        with pytest.raises(TransientError, match=rf"the judge at http://\S+ {said}"):
            await ask(bench.judge)
        bench.be("well")
        assert await ask(bench.judge)

    @pytest.mark.parametrize(("mode", "said"), [("refuses", "refused the request with 401"), ("nonsense", "gave no OpenAI completion")])
    async def test_what_stays_is_permanent_and_says_where(self, bench: Bench, mode: Mode, said: str) -> None:
        bench.be(mode)
        with pytest.raises(PermanentError, match=rf"the judge at http://\S+ {said}"):
            await ask(bench.judge)

    async def test_nothing_to_say_is_an_empty_reply(self, bench: Bench) -> None:
        bench.be("silent")
        assert await ask(bench.judge) == ""


class TestFake(JudgeContract):
    @pytest.fixture
    def bench(self) -> Bench:
        judge = FakeJudge()

        def be(mode: Mode) -> None:
            judge.mode = mode

        return Bench(judge, be)


@dataclass
class Endpoint:
    """An OpenAI-compatible endpoint that does as told."""

    url: str = ""
    mode: str = "well"
    reply: bytes | None = None
    """Sent as it is, where given."""
    requests: list[tuple[str, str | None, dict[str, Any]]] = field(default_factory=list)
    """(path, Authorization, body)."""
    released: threading.Event = field(default_factory=threading.Event)


class TestEndpoint(JudgeContract):
    @pytest.fixture
    async def bench(self, endpoint: Endpoint) -> AsyncIterator[Bench]:
        judge = EndpointJudge(JudgeSettings(url=endpoint.url, model="fake-judge", api_key="k-1"))  # type: ignore[arg-type]

        def be(mode: Mode) -> None:
            endpoint.mode = mode
            judge._timeout = 0.3 if mode == "slow" else 30  # waited for in full, while a reply on a busy machine may take its time

        yield Bench(judge, be)
        await judge.stop()

    async def test_it_speaks_the_protocol(self, bench: Bench, endpoint: Endpoint) -> None:
        await ask(bench.judge)
        body = {
            "model": "fake-judge",
            "messages": [{"role": "system", "content": "Compare."}, {"role": "user", "content": "14 天 or 30 days?"}],
            "max_tokens": 64,
            "temperature": 0.0,
        }
        assert endpoint.requests == [("/v1/chat/completions", "Bearer k-1", body)]

    async def test_a_reply_that_drips_has_the_same_bound(self, bench: Bench, endpoint: Endpoint) -> None:
        bench.be("slow")
        endpoint.mode = "drips"
        with pytest.raises(TransientError, match="not within 0.3 s"):
            await ask(bench.judge)

    @pytest.mark.parametrize("reply", [b"", b"hello", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": [1]}}]}'])
    async def test_other_replies_are_no_completion(self, bench: Bench, endpoint: Endpoint, reply: bytes) -> None:
        endpoint.reply = reply
        with pytest.raises(PermanentError, match="gave no OpenAI completion"):
            await ask(bench.judge)

    async def test_nobody_there_is_transient(self) -> None:
        judge = EndpointJudge(JudgeSettings(url="http://127.0.0.1:1/v1", model="m"))
        with pytest.raises(TransientError, match="does not answer"):
            await ask(judge)
        await judge.stop()

    def test_a_malformed_url_is_a_configuration_error(self) -> None:
        with pytest.raises(ConfigurationError, match="CSQA_JUDGE__URL"):
            EndpointJudge(JudgeSettings(url="http://judge:port/v1", model="m"))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    told = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.requests.append((self.path, self.headers["Authorization"], body))
            if told.mode == "slow":
                told.released.wait(5)
            if told.mode in {"down", "slow"}:
                return
            self.send_response(STATUSES.get(told.mode, 200))
            self.end_headers()
            if told.mode == "drips":
                for _ in range(100):
                    self.wfile.write(b" ")
                    if told.released.wait(0.05):
                        return
            content = None if told.mode == "silent" else body["messages"][-1]["content"]
            reply = {"detail": "no"} if told.mode != "well" and told.mode != "silent" else {"choices": [{"message": {"content": content}}]}
            self.wfile.write(json.dumps(reply).encode() if told.reply is None else told.reply)

        def log_message(self, *args: object) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # the judge did not wait
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield told
    told.released.set()
    server.shutdown()
    thread.join()
    server.server_close()
