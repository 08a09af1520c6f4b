"""What a benchmark tells: one JSON line, last, and the same in a file if one is named."""

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fraud.domain.errors import FraudError

Out = Annotated[Path | None, typer.Option(envvar="OUT", help="Where the JSON goes too.")]


@contextmanager
def benchmark(name: str) -> Iterator[Console]:
    """Run a benchmark: who ends it ends all that it started, and what stops it is one line.

    Args:
        name: of the make target.

    Returns:
        Where progress is shown.
    """
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda signum, frame: exit(143))  # unwinds
    try:
        yield console
    except FraudError as error:
        console.print(f"{name}: {error}", style="red")
        raise typer.Exit(1) from None


def publish(report: Mapping[str, Any], out: Path | None = None) -> None:
    """Print a report as one line, and write that line to `out`."""
    line = json.dumps(report)
    if out is not None:
        out.write_text(f"{line}\n", encoding="utf-8")
    print(line)
