"""Serving the newest Bento: this process becomes `bentoml serve`."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

from fraud.domain.errors import SettingsError
from fraud.run.bento import BENTO, is_built
from fraud.run.places import Places
from fraud.run.programs import absolute_paths, bentoml_environment, tool
from fraud.security.keyring import token_keys
from fraud.settings import Settings

DRAIN_S = 8
"""Seconds that requests in flight have to end after SIGTERM."""


def serve_bento(settings: Settings, tag: str = f"{BENTO}:latest") -> NoReturn:
    """Replace this process by the server of a Bento.

    Args:
        settings: the configuration.
        tag: which one; the newest that `fraud bento build` built if not given.

    Raises:
        SettingsError: there is no such Bento, or a secret it needs is unusable.
    """
    places = Places(settings.run_dir, settings.bento_dir)
    places.make()
    if not is_built(places, tag):
        raise SettingsError(f"There is no Bento {tag} to serve.", remedy="Run: fraud bento build")
    _ = token_keys(settings), settings.verify_key_pem  # better to fail here than in a worker
    command = [
        *(tool("bentoml"), "serve", tag),
        *("--host", settings.host, "--port", str(settings.api_port)),
        *("--timeout-graceful-shutdown", str(DRAIN_S)),
    ]
    environment = {
        **os.environ,
        **absolute_paths(settings),  # the Bento's own default run folder lies inside it
        **bentoml_environment(settings, places),
        "NUMBA_CACHE_DIR": str(_writable_machine_code(places)),
    }
    os.chdir(settings.run_dir)
    os.execve(command[0], command, environment)


def _writable_machine_code(places: Places) -> Path:
    """Where the compiled loops are; numba takes none from a folder it cannot write to.

    A store that came with an image is read-only: they are copied out of it.
    """
    if os.access(places.machine_code, os.W_OK):
        return places.machine_code
    copied = places.run_dir / "compiled"
    shutil.copytree(places.machine_code, copied, dirs_exist_ok=True)
    return copied
