"""`csqa gate` between two model servers in memory: the usual one, and one that serves the export."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from csqa_loop.cli import app
from csqa_loop.training.run.manifest import Manifest
from tests.fakes.model_server import FakeModelServer
from tests.run_directories import pair, write_run

ADAPTER = "a-" + "1" * 16
URL = "http://export"
HOLDOUT = [pair(number) for number in range(30, 56)]
GOOD, BAD = "You may return item within 14 days.", "Keep item as long as you like."


@dataclass
class _World:
    """A run, an export of it, and what is served."""

    var: Path
    export: Path
    usual: FakeModelServer
    candidate: FakeModelServer
    named: list[tuple[str, ...]] = field(default_factory=list)

    def gate(self, *options: str) -> Result:
        return CliRunner().invoke(app, ["gate", str(self.export), "--url", URL, *options])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _World:
    monkeypatch.setenv("CSQA_VAR", str(tmp_path))
    monkeypatch.setenv("CSQA_VLLM", "http://usual")
    run = write_run(tmp_path / "runs", holdout=HOLDOUT, gate={"enabled": False, "require_superiority": True})
    manifest = Manifest(
        run_id="r-1", adapter=ADAPTER, base="/model", parent="base", recipe_hash="c", data_hash="d", pairs=(), config={}, seed=0,
        versions={}, metrics={}, first_loss=None, seconds=1.0,
    )  # fmt: skip
    run.write("manifest.json", manifest.model_dump_json().encode())
    export = tmp_path / "export"
    export.mkdir()
    (export / "config.json").write_text("{}")
    (export / "manifest.json").write_text(manifest.model_dump_json())
    usual = FakeModelServer(("http://usual",), answer=lambda name, _: GOOD if name == ADAPTER else BAD)
    usual.held["http://usual"].add(ADAPTER)
    made = _World(tmp_path, export, usual, FakeModelServer((URL,), answer=_says(GOOD)))

    def at(urls: tuple[str, ...], _: Path) -> FakeModelServer:
        made.named.append(urls)
        return made.candidate

    monkeypatch.setattr("csqa_loop.bootstrap.build_model_server", lambda _: usual)
    monkeypatch.setattr("csqa_loop.bootstrap.build_model_server_at", at)
    monkeypatch.setattr("csqa_loop.gate.evaluate._TRIES", 1)
    return made


def _says(text: str) -> Callable[..., str]:
    return lambda *_: text


def test_an_export_that_says_the_same_passes_against_its_own_adapter(world: _World) -> None:
    answer = world.gate("--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert (told["adapter"], told["champion"], told["passed"], told["path"]) == (ADAPTER, ADAPTER, True, str(world.export))
    checks = {check["name"]: check for check in told["checks"]}
    assert checks["preference accuracy"]["n"] == len(HOLDOUT)
    assert checks["preference margin"]["champion"] == checks["preference margin"]["candidate"] > 0
    assert world.named == [(URL,)]
    assert {name for name, _, _ in world.usual.asked} == {ADAPTER}
    assert {name for name, _, _ in world.candidate.asked} == {"base"}


def test_an_export_that_lost_what_it_knew_is_refused(world: _World) -> None:
    world.candidate.answer = _says(BAD)
    answer = world.gate()
    assert answer.exit_code == 1
    assert f"does not pass against {ADAPTER}" in answer.stdout


def test_another_champion_is_asked_under_its_name(world: _World) -> None:
    world.candidate.answer = _says(BAD)  # as bad as the bare base
    assert world.gate("--champion", "base").exit_code == 0
    assert {name for name, _, _ in world.usual.asked} == {"base"}


def test_an_exported_adapter_is_asked_under_its_own_name(world: _World) -> None:
    (world.export / "config.json").rename(world.export / "adapter_config.json")
    world.candidate.held[URL].add(ADAPTER)
    assert world.gate().exit_code == 0
    assert {name for name, _, _ in world.candidate.asked} == {ADAPTER}


def test_what_gives_no_verdict_exits_with_2_and_its_reason(world: _World) -> None:
    def reason(*options: str) -> str:
        answer = world.gate(*options)
        assert answer.exit_code == 2
        assert answer.stdout == ""
        assert len(answer.stderr.splitlines()) == 1
        return answer.stderr

    other = "a-" + "2" * 16
    assert f"no model server serves {other} and base: http://usual serves {ADAPTER}, base" in reason("--champion", other)
    assert f"{world.var / 'runs' / 'r-9'} is not a folder" in reason("--run", "r-9")
    write_run(world.var / "runs", "r-2")
    assert "no held-out pairs and no gate.regression_file" in reason("--run", "r-2")
    world.candidate.down = True
    assert f"{URL} does not answer; docs/training.md has the command line" in reason()
    (world.export / "manifest.json").unlink()
    assert f"{world.export} has no manifest.json" in reason()


def test_the_pairs_of_another_run_can_be_asked(world: _World) -> None:
    write_run(world.var / "runs", "r-2", holdout=HOLDOUT[:21])
    told = json.loads(world.gate("--run", "r-2", "--json").stdout)
    assert {check["name"]: check["n"] for check in told["checks"]}["preference accuracy"] == 21
