"""Are the ports free? Asked before anything starts, because a process that cannot bind says so only in its log."""

import socket
from collections.abc import Sequence

from csqa_loop.errors import ConfigurationError
from csqa_loop.local.services import Service


def require_free(services: Sequence[Service]) -> None:
    """Return where every port is free.

    Raises:
        ConfigurationError: names the port, who holds it and the variable that moves it; or two services were given one port.
    """
    by_port: dict[int, Service] = {}
    for service in services:
        if service.address is None:
            continue
        port = service.address[1]
        if port and port in by_port:
            raise ConfigurationError(f"{by_port[port].name} and {service.name} are both set to port {port}; change {service.port_setting}")
        by_port[port] = service
    for service in services:
        if service.address is not None and not _is_free(*service.address):
            port = service.address[1]
            raise ConfigurationError(
                f"port {port} for the {service.name} is taken by {holder(port)}; stop that, or set {service.port_setting}"
            )


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    import psutil

    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "another process"
