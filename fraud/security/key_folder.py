"""A folder of secrets with names: one file per secret, and the greatest name is in use.

The names that `add_key` gives are dates, so the newest key is the one in use; the others stay
good for what was made with them, until they are retired.
"""

import datetime as dt
import secrets
from pathlib import Path

from fraud.domain.errors import NotFound, SettingsError
from fraud.security.secret_files import write_once


def key_files(folder: Path) -> list[Path]:
    """The folder's secrets by name; what begins with a dot belongs to whoever mounted it."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and path.is_file())


def fingerprint(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes whenever the folder's secrets may have changed."""
    found = []
    for path in key_files(folder):
        status = path.stat()
        found.append((path.name, status.st_mtime_ns, status.st_size))
    return tuple(found)


def add_key(folder: Path, secret: bytes, now: dt.datetime) -> str:
    """Keep a new secret, which is in use from now on; its name.

    Raises:
        SettingsError: the folder cannot be written.
    """
    name = f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(2)}"
    write_once(folder / name, secret)
    return name


def retire_key(folder: Path, name: str, kind: str) -> None:
    """Remove a secret.

    Args:
        folder: where it is.
        name: which.
        kind: what people call such a key.

    Raises:
        NotFound: there is none of that name.
        SettingsError: it cannot be removed.
    """
    if name not in [path.name for path in key_files(folder)]:
        raise NotFound(f"There is no {kind} {name!r}.", remedy="See: fraud keys list")
    try:
        (folder / name).unlink()
    except OSError as error:
        raise SettingsError(
            f"{folder / name} cannot be removed: {error.strerror}.",
            remedy="Remove it where it comes from.",
        ) from None
