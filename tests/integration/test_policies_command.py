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


SHOP = {
    "returns.md": "# Returns\n\nWithin 30 days.\n",
    "FEES.MD": "# Fees\n\nA parcel is 5 EUR.\n",
    "shipping.markdown": "# Shipping\n\nOn working days.\n",
}


def test_a_sync_names_what_it_skips_and_asks_before_it_withdraws_most(mortal_broker: Broker, tmp_path: Path) -> None:
    csqa, folder = Csqa(mortal_broker, tmp_path / "var"), tmp_path / "policies"
    folder.mkdir()
    for name, text in SHOP.items():
        (folder / name).write_text(text)
    (folder / "notes.txt").write_text("text")
    first = csqa("policies", "sync", str(folder))
    assert first.returncode == 0, first.stderr
    assert "skipped, no Markdown: 1 .txt (notes.txt)" in first.stdout
    assert "3 published" in first.stdout

    (folder / "FEES.MD").rename(folder / "prices.md")
    (folder / "returns.md").unlink()
    (folder / "shipping.markdown").rename(folder / "shipping.docx")
    told = json.loads(csqa("policies", "sync", str(folder), "--withdraw-missing", "--json").stdout)
    assert [row["policy_id"] for row in told["published"]] == ["prices"]
    assert (told["withdrawn"], told["missing"], told["renamed"]) == (["returns"], ["FEES"], [{"policy_id": "FEES", "now": "prices"}])
    assert [row["file"] for row in told["skipped"]] == ["notes.txt", "shipping.docx"]
    told = json.loads(csqa("policies", "sync", str(folder), "--withdraw-missing", "--yes", "--json").stdout)
    assert (told["withdrawn"], told["missing"], told["renamed"]) == ([], ["FEES"], [{"policy_id": "FEES", "now": "prices"}])
    said = " ".join(csqa("policies", "sync", str(folder), "--withdraw-missing", "--yes").stdout.replace("│", " ").split())
    assert "renamed to prices" in said
    assert "csqa policies withdraw FEES --reason renamed" in said
    assert csqa("policies", "withdraw", "FEES", "--reason", "renamed").returncode == 0

    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "readme.md").write_text("# Read me\n\nText.\n")
    refused = csqa("policies", "sync", str(wrong), "--withdraw-missing")
    assert refused.returncode == 1
    assert "2 of 2 current policies have no file here (prices, shipping)" in refused.stderr
    listed = json.loads(csqa("policies", "list", "--json").stdout)
    assert [row["policy_id"] for row in listed] == ["prices", "shipping"]


@pytest.mark.parametrize("command", ["policies list", "policies sync {folder}", "topics create", "data import {folder}/chat.jsonl"])
def test_without_a_broker_it_says_so_in_one_line_and_no_other(command: str, tmp_path: Path) -> None:
    (tmp_path / "returns.md").write_text("# Returns\n\n14 days.\n")
    turns = [{"role": "user", "content": "How long?"}, {"role": "assistant", "content": "14 days."}]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": turns}))
    nowhere = Broker("embedded", "127.0.0.1:9")
    result = Csqa(nowhere, tmp_path / "var")(*command.format(folder=tmp_path).split())
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("csqa: Kafka at 127.0.0.1:9 does not answer")
