"""`csqa policies` against a real broker, with and without an indexer."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from csqa_loop.settings import KafkaSettings, Settings
from streams.indexer import create_app
from tests.brokers import Broker
from tests.fakes.encoder import FakeEncoder


class Csqa:
    """The command as a person runs it."""

    def __init__(self, broker: Broker, var: Path) -> None:
        self._environment = {"CSQA_KAFKA": broker.servers, "CSQA_VAR": str(var), "PATH": "/usr/bin:/bin", "PYTHONPATH": "."}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "csqa_loop.cli", *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)


@contextlib.contextmanager
def indexer(broker: Broker) -> Iterator[None]:
    """The indexer in a thread with a loop of its own, as the process would run beside the command."""
    started, stop = threading.Event(), threading.Event()

    async def run() -> None:
        app = create_app(Settings(kafka=KafkaSettings(servers=broker.servers)), FakeEncoder())
        async with app.router.lifespan_context(app):
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(10)
    yield
    stop.set()
    thread.join(timeout=30)


@pytest.mark.parametrize("which", ["mortal_broker", pytest.param("mortal_kafka", marks=pytest.mark.kafka)])
def test_a_folder_is_published_changed_and_withdrawn(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    broker: Broker = request.getfixturevalue(which)
    csqa, folder = Csqa(broker, tmp_path / "var"), tmp_path / "policies"
    folder.mkdir()
    (folder / "returns.md").write_text("# Returns\n\n14 days.\n")
    (folder / "fees.md").write_text("---\ntitle: Fees [all]\nlanguage: de\n---\n5 EUR.\n")
    (folder / "latin.md").write_bytes("Gebühr".encode("latin-1"))
    (folder / "empty.md").write_text("")

    first = csqa("policies", "sync", str(folder), "--json")
    assert first.returncode == 1
    assert first.stderr.splitlines()[-1] == "csqa: 2 file(s) refused: empty.md, latin.md"
    told = json.loads(first.stdout)
    assert [row["policy_id"] for row in told["published"]] == ["fees", "returns"]
    assert [row["policy_id"] for row in told["refused"]] == ["empty", "latin"]

    (folder / "latin.md").unlink()
    (folder / "empty.md").unlink()
    (folder / "returns.md").write_text("# Returns\n\n30 days.\n")
    late = csqa("policies", "sync", str(folder), "--wait", "1")
    assert late.returncode == 1
    assert "not indexed within 1 s: fees, returns" in late.stderr
    listed = json.loads(csqa("policies", "list", "--json").stdout)
    assert [(row["policy_id"], row["title"], row["indexed"]) for row in listed] == [
        ("fees", "Fees [all]", False),
        ("returns", "Returns", False),
    ]

    with indexer(broker):
        again = csqa("policies", "sync", str(folder), "--wait", "40", "--json")
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert (told["published"], told["unchanged"], told["not_indexed"]) == ([], ["fees", "returns"], [])
    assert "Fees [all]" in csqa("policies", "list").stdout

    (folder / "fees.md").unlink()
    assert json.loads(csqa("policies", "sync", str(folder), "--json").stdout)["missing"] == ["fees"]
    assert json.loads(csqa("policies", "sync", str(folder), "--withdraw-missing", "--json").stdout)["withdrawn"] == ["fees"]
    assert csqa("policies", "withdraw", "returns", "--reason", "replaced").stdout == "returns is withdrawn\n"
    gone = csqa("policies", "withdraw", "returns", "--reason", "replaced")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr.splitlines()[-1] == "csqa: policy 'returns' is not published; current policies: none"
    assert json.loads(csqa("policies", "list", "--json").stdout) == []


def test_without_a_broker_it_says_so_in_one_line(tmp_path: Path) -> None:
    nowhere = Broker("embedded", "127.0.0.1:9")
    result = Csqa(nowhere, tmp_path)("policies", "list")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("csqa: Kafka at 127.0.0.1:9 does not answer")
