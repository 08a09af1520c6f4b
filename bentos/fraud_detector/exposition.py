"""The text Prometheus scrapes: what every worker counted, and what is asked for at the moment."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

_LIVE_FILE = re.compile(r"gauge_live[a-z]+_(\d+)\.db")


def exposition(registry: CollectorRegistry, more: Sequence[Collector]) -> bytes:
    """What was counted, of all workers where there are several, and what `more` says.

    Args:
        registry: of this process; used where no files are shared.
        more: collectors that are asked once, whoever of the workers answers.
    """
    merged = CollectorRegistry()
    try:
        counted = MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
    except ValueError:  # one process, no shared files
        merged = registry
    else:
        forget_the_dead(Path(counted._path))
    momentary = CollectorRegistry()
    for each in more:
        momentary.register(each)
    return generate_latest(merged) + generate_latest(momentary)


def forget_the_dead(folder: Path) -> None:
    """Leave out what workers that died said of their present state; what they counted stays.

    Nobody tells us when one is killed: without this, a worker that died with its breaker open
    would keep it open for Prometheus for ever.
    """
    pids = {int(found[1]) for file in folder.iterdir() if (found := _LIVE_FILE.match(file.name))}
    for pid in pids:
        if not _is_alive(pid):
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, and alive
        return True
    return True
