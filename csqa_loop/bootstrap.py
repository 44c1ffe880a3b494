"""The only place where concrete backends are chosen. Heavy ones are imported when they are asked for."""

from typing import TYPE_CHECKING

from csqa_loop.backends.secrets import Secrets, load_or_create
from csqa_loop.cycle.ports import Encoder
from csqa_loop.settings import Settings

if TYPE_CHECKING:
    from csqa_loop.backends.bus import KafkaBus
    from csqa_loop.backends.model_server import VllmServer


def build_secrets(settings: Settings) -> Secrets:
    """Keys from settings where given, else from `var/secrets.json`."""
    if settings.secret and settings.operator_key:
        return Secrets(settings.secret.get_secret_value().encode(), settings.operator_key.get_secret_value())
    kept = load_or_create(settings.var / "secrets.json")
    return Secrets(
        settings.secret.get_secret_value().encode() if settings.secret else kept.secret,
        settings.operator_key.get_secret_value() if settings.operator_key else kept.operator_key,
    )


def build_bus(settings: Settings) -> "KafkaBus":
    """The log as a writer; not started."""
    from csqa_loop.backends.bus import KafkaBus

    return KafkaBus(settings.kafka, settings.kafka_servers)


def build_model_server(settings: Settings) -> "VllmServer":
    """All vLLM replicas behind one object."""
    from csqa_loop.backends.model_server import VllmServer

    return VllmServer(settings.model_server_urls, settings.model_server, adapters=settings.adapters)


def build_encoder(settings: Settings) -> Encoder:
    """The encoder that settings name, loaded."""
    from csqa_loop.backends.encoder import load_encoder

    return load_encoder(settings.encoder)
