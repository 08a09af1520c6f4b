"""How loops are compiled, and where their machine code is kept between processes.

numba keeps a loop's machine code until the file changes that the loop stands in. But loops call
one another across files, and take constants from the domain: code that was made before such a
change would go on computing what no source says any more. So the folder it is kept in bears a
digest of all these sources.
"""

import hashlib
import os
from pathlib import Path

import numba

import fraud.domain

_HERE = Path(__file__).parent


def sources() -> list[Path]:
    """The files whose change makes machine code anew, in order."""
    [domain] = fraud.domain.__path__
    return [*sorted(_HERE.glob("*.py")), *sorted(Path(domain).glob("*.py"))]


def digest_of(files: list[Path]) -> str:
    """A short digest of the content of files."""
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        digest.update(hashlib.blake2b(file.read_bytes()).digest())
    return digest.hexdigest()


def _folder() -> str:
    """Where numba keeps it: the folder it was given, else beside the sources, else its choice."""
    given: str = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    beside = _HERE / "__pycache__"
    if not given and not os.access(beside if beside.exists() else _HERE, os.W_OK):
        return ""
    return str(Path(given or beside) / f"machine-code-{digest_of(sources())}")


numba.config.CACHE_DIR = _folder()  # type: ignore[attr-defined]

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
inlined = numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")
