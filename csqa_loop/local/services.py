"""What `csqa up` runs, as data: commands, addresses, probes and order. What settings place elsewhere is only watched."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from csqa_loop.local.broker import broker_command
from csqa_loop.local.probes import HealthProbe, any_of, http_probe, kafka_probe
from csqa_loop.local.vllm import vllm_python
from csqa_loop.settings import HttpSettings, Settings

_ANY_HOST = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, never bound


@dataclass(frozen=True)
class Service:
    """One process of the system, wherever it runs."""

    name: str
    url: str
    probe: HealthProbe
    command: tuple[str, ...] = ()
    """Empty: it is run elsewhere."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own."""
    address: tuple[str, int] | None = None
    """Host and port it will listen on, which must be free before it starts."""
    port_setting: str = ""
    """The variable that moves the port."""
    needs: tuple[str, ...] = ()
    """Services that must be healthy before it starts the first time."""
    stop_last: int = 0
    """Higher ones stop later: what others use goes after them."""
    stop_seconds: float = 8.0
    """Seconds that it has to stop by itself."""

    @property
    def external(self) -> bool:
        """Whether it is run elsewhere."""
        return not self.command


def build_services(settings: Settings) -> tuple[Service, ...]:
    """Everything `csqa up` starts or watches, in the order of their start.

    Raises:
        ConfigurationError: an embedded part is needed and not installed.
    """
    return (_broker(settings), _vllm(settings), *watched_services(settings)[2:])


def watched_services(settings: Settings) -> tuple[Service, ...]:
    """The same without looking for the embedded parts' programs: for health checks."""
    return (
        Service(name="broker", url=settings.kafka_servers, probe=kafka_probe(settings.kafka_servers)),
        Service(
            name="vllm",
            url=",".join(settings.model_server_urls),
            probe=any_of(*(http_probe(f"{url}/health") for url in settings.model_server_urls)),
        ),
        _own("loop", settings, settings.console, "CSQA_CONSOLE__PORT"),
        _own("indexer", settings, settings.indexer, "CSQA_INDEXER__PORT"),
        _own("gateway", settings, settings.gateway, "CSQA_GATEWAY__PORT"),
        _own("trainer", settings, settings.trainer, "CSQA_TRAINER__PORT"),
    )


def _broker(settings: Settings) -> Service:
    watched = watched_services(settings)[0]
    if settings.kafka.servers:
        return watched
    port = settings.kafka.embedded_port
    return Service(
        name=watched.name,
        url=watched.url,
        probe=watched.probe,
        command=tuple(broker_command(port)),
        address=("127.0.0.1", port),
        port_setting="CSQA_KAFKA__EMBEDDED_PORT",
        stop_last=2,
        stop_seconds=2.0,  # it holds its log in memory: there is nothing to flush
    )


def _vllm(settings: Settings) -> Service:
    watched = watched_services(settings)[1]
    if settings.model_server.urls:
        return watched
    vllm_python(settings)  # missing: reported now, not in a log
    port = settings.model_server.embedded_port
    return Service(
        name=watched.name,
        url=watched.url,
        probe=watched.probe,
        # Converts the packaged model first where that has not been done, then becomes vLLM.
        command=_csqa("model", "serve"),
        address=("127.0.0.1", port),
        port_setting="CSQA_MODEL_SERVER__EMBEDDED_PORT",
        stop_last=1,
        stop_seconds=6.0,
    )


def _own(name: str, settings: Settings, listens: HttpSettings, port_setting: str) -> Service:
    host = "127.0.0.1" if listens.host in _ANY_HOST else listens.host
    url = f"http://{host}:{listens.port}"
    return Service(
        name=name,
        url=url,
        probe=http_probe(f"{url}/ready"),
        command=_csqa(name),
        environment={"PYTHONUNBUFFERED": "1"},
        address=(listens.host, listens.port),
        port_setting=port_setting,
        needs=("broker",),  # nothing else: the gateway answers 503 until vLLM is there, and the loop reads its log meanwhile
        stop_seconds=settings.stop_seconds,
    )


def _csqa(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "csqa_loop.cli", *arguments)


def own_environment(service: Service) -> dict[str, str]:
    """The environment a service starts with."""
    return {**os.environ, **service.environment}
