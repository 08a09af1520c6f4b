"""Ports: whether the ones we are told to use are free."""

import errno
import socket
from collections.abc import Mapping

from fraud.domain.errors import SettingsError


def check_free(host: str, ports: Mapping[str, int]) -> None:
    """Return if every port can be bound.

    Args:
        host: address the servers will bind to.
        ports: by the name of their setting, e.g. `FRAUD_API_PORT`.

    Raises:
        SettingsError: one is taken, two are equal, or the address is not ours.
    """
    seen: dict[int, str] = {}
    for setting, port in ports.items():
        if port in seen:
            raise SettingsError(
                f"{seen[port]} and {setting} are both {port}.",
                remedy=f"Set {setting} to another port.",
            )
        seen[port] = setting
        _check_one(host, setting, port)


def _check_one(host: str, setting: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SettingsError(
                    f"Port {port} is taken by another program.",
                    remedy=f"See which one with: ss -ltnp 'sport = :{port}'. "
                    f"Stop it, or choose another port: {setting}={port + 10} make run",
                ) from None
            raise SettingsError(
                f"{host}:{port} cannot be used: {error.strerror}.",
                remedy=f"Check FRAUD_HOST and {setting}.",
            ) from None
