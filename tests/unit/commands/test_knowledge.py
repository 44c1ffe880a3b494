"""`csqa knowledge search` against a gateway of the test's own."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from csqa_loop.commands.knowledge import app, ask_gateway
from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.settings import GatewaySettings, Settings

HIT = {
    "chunk_id": "returns@0#0",
    "policy_id": "returns",
    "version": "0" * 12,
    "section": "Returns > [b]",
    "text": "14 days",
    "score": 0.81234,
}
FOUND = {"index_version": "a" * 12, "as_of": "2026-11-22T12:00:00+00:00", "hits": [HIT]}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers["Authorization"]
            status, answer = 200, json.dumps(FOUND)
            if key != "Bearer the-key" or self.path != "/v1/knowledge/search":
                status, answer = 401, json.dumps({"title": "Unauthorized", "detail": "the operator key is wrong"})
            elif body["query"] == "starting":
                status, answer = 503, json.dumps({"title": "Service Unavailable", "detail": "the index is being built"})
            elif body["query"] == "html":
                answer = "<html>"
            elif body != {"query": "how long?", "k": 3}:
                status, answer = 400, "unexpected"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("CSQA_GATEWAY__PORT", str(server.server_port))
    monkeypatch.setenv("CSQA_OPERATOR_KEY", "the-key")
    monkeypatch.setenv("CSQA_VAR", str(tmp_path))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_json_is_what_the_gateway_says(gateway: ThreadingHTTPServer) -> None:
    result = CliRunner().invoke(app, ["search", "how long?", "-k", "3", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == FOUND


def test_people_get_a_table(gateway: ThreadingHTTPServer) -> None:
    result = CliRunner().invoke(app, ["search", "how long?", "-k", "3"])
    assert result.exit_code == 0
    for words in ("0.812", "returns", "[b]", "14 days", "a" * 12):
        assert words in result.stdout


def test_each_failure_says_what_to_do(gateway: ThreadingHTTPServer, tmp_path) -> None:
    port = gateway.server_port
    settings = Settings(gateway=GatewaySettings(port=port), var=tmp_path)
    with pytest.raises(TransientError, match="503: the index is being built"):
        ask_gateway(settings, "starting", 3)
    with pytest.raises(PermanentError, match="does not answer in JSON"):
        ask_gateway(settings, "html", 3)
    with pytest.raises(PermanentError, match="400: unexpected"):
        ask_gateway(settings, "how long?", 4)
    with pytest.raises(PermanentError, match="operator key is wrong; CSQA_OPERATOR_KEY or CSQA_VAR differs"):
        ask_gateway(settings.model_copy(update={"operator_key": None}), "how long?", 3)
    with pytest.raises(TransientError, match="start it with `csqa up`"):
        ask_gateway(Settings(gateway=GatewaySettings(port=9)), "how long?", 3)
