"""How a command fails: with one sentence, and the rest in a file."""

import datetime as dt
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from fraud.domain.errors import FraudError
from fraud.security.masking import masked
from fraud.settings import load_settings

FAILED = 2
"""Exit code of a command that could not do what was asked."""


@contextmanager
def clear_errors() -> Iterator[None]:
    """One sentence for a failure that is understood; a file with the traceback for others."""
    try:
        yield
    except FraudError as error:
        typer.echo(masked(f"fraud: {error}"), err=True)
        raise typer.Exit(FAILED) from None
    except Exception as error:  # noqa: BLE001 - people get a sentence, the file the rest
        kept = _keep_traceback()
        what = f"fraud: unexpected {type(error).__name__}: {error}. {kept}"
        typer.echo(masked(what), err=True)
        raise typer.Exit(1) from None


def _keep_traceback() -> str:
    moment = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S")
    try:
        folder = load_settings().run_dir / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"error-{moment}-{os.getpid()}.log"
        path.write_text(masked(f"{' '.join(sys.argv)}\n\n{traceback.format_exc()}"))
    except (OSError, FraudError):
        return f"\n{traceback.format_exc()}"
    return f"The details are in {path}"
