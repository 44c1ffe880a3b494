"""A gateway as a process of its own, on a real broker, with a fake model and encoder: `python -m tests.faults.gateway_process VAR SERVERS PORT`."""

import sys
from pathlib import Path

from csqa_loop.bootstrap import build_gateway
from csqa_loop.gateway.app import serve
from csqa_loop.settings import Settings
from tests.fakes.encoder import FakeEncoder
from tests.fakes.model_server import FakeModelServer

if __name__ == "__main__":
    var, servers, port = sys.argv[1:]
    settings = Settings(var=Path(var), kafka={"servers": servers, "request_timeout_seconds": 3.0}, gateway={"port": int(port)})
    parts = build_gateway(settings)
    parts.model, parts.load_encoder = FakeModelServer(), FakeEncoder
    serve(parts)
