"""`csqa data import` against a real broker, stopped by Ctrl-C and run again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from csqa_loop.events import ExampleImported
from csqa_loop.events.topics import BAD_CASES
from csqa_loop.events.wire import decode
from csqa_loop.log import read_to_end
from csqa_loop.settings import KafkaSettings
from tests.brokers import Broker

_ROWS = 6000
_SECONDS = 60


def test_an_import_stopped_by_ctrl_c_goes_on_and_nothing_doubles(mortal_broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = ({"question": f"How do I return item {n}?", "chosen": f"Within {n} days.", "rejected": "Never."} for n in range(_ROWS))
    file.write_text("\n".join(map(json.dumps, rows)))
    environment = dict(os.environ) | {"CSQA_KAFKA": mortal_broker.servers, "CSQA_VAR": str(tmp_path / "var")}
    command = [sys.executable, "-m", "csqa_loop.cli", "data", "import", str(file), "--json"]

    # Where the tests themselves were started with SIGINT ignored, as background jobs of a script are, their children would inherit that.
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + _SECONDS
        while not list((tmp_path / "var" / "imports").glob("*[0-9a-f].json")):
            assert first.poll() is None, first.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=_SECONDS)
    finally:
        first.kill()
        first.wait()
    assert first.returncode == 130, said
    assert "The same command goes on from there" in said

    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * _SECONDS, check=False)
    assert second.returncode == 0, second.stderr
    told = json.loads(second.stdout)
    assert 0 < told["published_before"] < _ROWS
    assert told["published"] + told["published_before"] == _ROWS

    async def published() -> list[ExampleImported]:
        found: list[ExampleImported] = []
        async for record in read_to_end(mortal_broker.servers, KafkaSettings(), [BAD_CASES]):
            event = decode(record.topic, record.value)
            assert isinstance(event, ExampleImported)
            found.append(event)
        return found

    events = asyncio.run(published())
    bodies = {event.event_id: event for event in events}
    assert len(bodies) == _ROWS
    # A batch whose acknowledgement was lost is written twice: then with the same body.
    assert all(bodies[event.event_id] == event for event in events)
