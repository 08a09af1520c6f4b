"""Ports nobody uses.

The system hands ports of its own accord only from its ephemeral range, which begins at 32768
on Linux (`net.ipv4.ip_local_port_range`). Those given here lie below it, and every process of
a test run gives its own: nothing takes one between its being given and its being bound.
"""

import functools
import itertools
import os
import random
import socket

FIRST_PORT = 20_000
PORTS_PER_PROCESS = 1_000
PROCESSES = 12


@functools.cache
def _own_ports() -> "itertools.cycle[int]":
    """The ports of this process, from a random one on: another run may be under way."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + PORTS_PER_PROCESS * (worker % PROCESSES)
    start = random.SystemRandom().randrange(PORTS_PER_PROCESS)
    return itertools.cycle(
        first + (start + step) % PORTS_PER_PROCESS for step in range(PORTS_PER_PROCESS)
    )


def free_port() -> int:
    """A port to start a server at: free now, and given to nobody else soon."""
    for port in itertools.islice(_own_ports(), PORTS_PER_PROCESS):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"All {PORTS_PER_PROCESS} ports of this test process are taken.")


@functools.cache
def _never_listening() -> socket.socket:
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


def closed_port() -> int:
    """A port that refuses every connection for as long as this process lives: it is held."""
    port: int = _never_listening().getsockname()[1]
    return port
