"""What a benchmark tells: one JSON line, last, and the same in a file if one is named."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Out = Annotated[Path | None, typer.Option(envvar="OUT", help="Where the JSON goes too.")]


def publish(report: Mapping[str, Any], out: Path | None = None) -> None:
    """Print a report as one line, and write that line to `out`."""
    line = json.dumps(report)
    if out is not None:
        out.write_text(f"{line}\n", encoding="utf-8")
    print(line)
