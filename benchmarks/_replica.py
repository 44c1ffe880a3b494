"""A second model server that does as vLLM does, and hangs when told to: it takes connections and answers none."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from csqa_loop.events import BASE


class Replica(ThreadingHTTPServer):
    """On a port of its own."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.held = {BASE}
        self.well = threading.Event()
        self.well.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever waited for an answer has left by now; everything else is a fault of this file."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def hang(self) -> None:
        """From now on, also for requests that come over connections it has."""
        self.well.clear()

    def recover(self) -> None:
        """Answer everything that waits, and what comes."""
        self.well.set()


@contextmanager
def replica() -> Iterator[Replica]:
    """It serves while the block runs."""
    with Replica() as made:
        thread = threading.Thread(target=made.serve_forever, name="replica", daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.recover()
            made.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Replica

    def do_GET(self) -> None:
        self.server.well.wait()
        self._answer({} if self.path == "/health" else {"data": [{"id": name} for name in sorted(self.server.held)]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        self.server.well.wait()
        if self.path == "/v1/load_lora_adapter":
            self.server.held.add(body["lora_name"])
        elif self.path == "/v1/unload_lora_adapter":
            self.server.held.discard(body["lora_name"])
        elif body.get("model") not in self.server.held:
            self._answer({"error": {"message": "The model does not exist."}}, status=404)
            return
        choice = {"message": {"content": "Yes."}, "finish_reason": "stop", "logprobs": None}
        self._answer({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})

    def _answer(self, told: dict[str, Any], *, status: int = 200) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Probes come every second."""
