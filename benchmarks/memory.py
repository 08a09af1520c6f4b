"""Peak memory of a process, its own: `ru_maxrss` begins with that of whoever started it."""

import re
from contextlib import suppress
from pathlib import Path


def peak_mb(pid: int | str = "self") -> float:
    """Peak resident memory in MiB since the process began; 0 if it is gone."""
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        if found:
            return int(found[1]) / 1024
    return 0.0
