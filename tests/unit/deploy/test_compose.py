"""docker-compose.yml cannot be run in a test, but what it says about this project can be checked."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from pydantic import BaseModel

from csqa_loop.cli import app
from csqa_loop.local.vllm import BASE, vllm_command
from csqa_loop.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("gateway", "indexer", "loop", "trainer")
ALIASES = {"CSQA_KAFKA", "CSQA_VLLM", "CSQA_CONFIG"}


def resolved(value: object) -> str:
    """As compose does it, with every required variable given."""
    text = re.sub(r"\$\{\w+:\?[^}]*\}", "a-key", str(value))
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def is_setting(variable: str) -> bool:
    here: type[BaseModel] = Settings
    path = variable.removeprefix("CSQA_").lower().split("__")
    for depth, part in enumerate(path):
        field = here.model_fields.get(part)
        if field is None:
            return False
        if depth < len(path) - 1:
            here = field.annotation  # type: ignore[assignment]
    return True


@pytest.mark.parametrize("name", OURS)
def test_runs_a_command_that_exists(name: str) -> None:
    script, command = SERVICES[name]["command"]
    assert script == "csqa"
    assert command == name
    assert command in typer.main.get_command(app).commands


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {key: resolved(value) for key, value in SERVICES[name]["environment"].items() if key.startswith("CSQA_")}
    assert not [key for key in given if key not in ALIASES and not is_setting(key)]
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    settings = load_settings()  # and the values are valid together
    assert settings.kafka_servers == "kafka:9092"
    assert settings.model_server_urls == ("http://vllm:8000",)


def test_a_misspelt_variable_would_be_noticed() -> None:
    assert is_setting("CSQA_GATEWAY__PORT")
    assert not is_setting("CSQA_GATEWAY__PROT")
    assert not is_setting("CSQA_GATWAY__PORT")


@pytest.mark.parametrize("name", SERVICES)
def test_has_a_health_check_that_restarts_are_judged_by(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OURS)
def test_health_is_asked_where_the_process_listens(name: str) -> None:
    section = {"loop": "console"}.get(name, name)
    port = getattr(load_settings(), section).port
    assert f"http://127.0.0.1:{port}/health" in SERVICES[name]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", OURS)
def test_has_as_long_to_stop_as_the_process_takes(name: str) -> None:
    assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= load_settings().stop_seconds


@pytest.mark.parametrize("name", SERVICES)
def test_publishes_on_loopback_only(name: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_keys_have_no_default() -> None:
    environment = SERVICES["gateway"]["environment"]
    assert all(environment[key].startswith("${" + key + ":?") for key in ("CSQA_SECRET", "CSQA_OPERATOR_KEY"))
    example = dict(
        line.split("=", 1) for line in (ROOT / "deploy/example.env").read_text().splitlines() if line and not line.startswith("#")
    )
    assert example["CSQA_SECRET"] == example["CSQA_OPERATOR_KEY"] == ""


def test_the_ledger_is_mounted_by_the_loop_alone() -> None:
    holders = [name for name, service in SERVICES.items() if any(volume.startswith("ledger:") for volume in service.get("volumes", []))]
    assert holders == ["loop"]


def test_loop_trainer_and_vllm_see_adapters_under_one_path() -> None:
    for name in ("loop", "trainer", "vllm"):
        assert any(volume.startswith("shared:/data") for volume in SERVICES[name]["volumes"]), name


def test_volumes_are_declared() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_vllm_serves_as_the_embedded_one_does() -> None:
    settings = load_settings()
    there = dict(
        part.removeprefix("--").split("=", 1) if "=" in part else (part.removeprefix("--"), "")
        for part in map(resolved, SERVICES["vllm"]["command"])
    )
    assert there["served-model-name"] == BASE
    here = list(vllm_command(settings, "python"))
    for flag in ("max-lora-rank", "max-loras", "max-cpu-loras"):
        assert there[flag] == here[here.index(f"--{flag}") + 1]
    assert "enable-lora" in there
    assert SERVICES["vllm"]["environment"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
