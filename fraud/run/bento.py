"""Building the Bento from the sources, unless the newest one holds them already."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from fraud.domain.errors import FraudError, SettingsError
from fraud.run.places import Places
from fraud.run.programs import bentoml_environment, tool
from fraud.settings import Settings

BENTO = "fraud_detector"
BENTOFILE = "bentos/fraud_detector/bentofile.yaml"
ROOMS = ("fraud", "feature_store", "bentos")
ALSO = (BENTOFILE, "requirements/serve.lock")


def build(settings: Settings) -> str:
    """The tag of a Bento that holds the present sources; built if there is none.

    Raises:
        SettingsError: the sources or BentoML are not here.
        FraudError: the build failed.
    """
    root = source_root()
    places = Places(settings.run_dir, settings.bento_dir)
    places.make()
    digest = _source_digest(root)
    memory = places.bentoml_home / "built.json"
    known = _remembered(memory)
    if known.get("digest") == digest and is_built(places, known.get("tag", "")):
        return known["tag"]
    command = [tool("bentoml"), "build", "-f", BENTOFILE, "--output", "tag", "."]
    environment = {**os.environ, **bentoml_environment(settings, places)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    tags = [line for line in done.stdout.splitlines() if line.startswith("__tag__:")]
    if done.returncode != 0 or not tags:
        log = places.log("bento-build")
        log.write_text(done.stdout + done.stderr)
        raise FraudError("The Bento could not be built.", remedy=f"See {log}.")
    tag = tags[-1].removeprefix("__tag__:")
    sources = places.bentoml_home / "bentos" / BENTO / tag.partition(":")[2] / "src"
    compile_loops(sources, environment, places.log("bento-build"))
    memory.write_text(json.dumps({"digest": digest, "tag": tag}))
    return tag


def compile_loops(sources: Path, environment: Mapping[str, str], log: Path) -> None:
    """Compile the scoring loops now, so that no worker has to when it starts.

    It is done in a process of its own: a worker would keep the compiler's memory.

    Args:
        sources: folder of the packages to import.
        environment: of the workers; `NUMBA_CACHE_DIR` says where the machine code goes.
        log: where to say what went wrong.

    Raises:
        FraudError: something did.
    """
    script = (
        "from feature_store.batch import type_layout, warm_up\n"
        "from fraud.types.registry import fraud_types\n"
        "for name in fraud_types(): warm_up(type_layout(name))\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script],  # machine code only, no bytecode in the Bento
        cwd=sources,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        log.write_text(done.stdout + done.stderr)
        raise FraudError("The scoring loops could not be compiled.", remedy=f"See {log}.")


def is_built(places: Places, tag: str = f"{BENTO}:latest") -> bool:
    """Whether the store holds this Bento."""
    name, _, version = tag.partition(":")
    folder = places.bentoml_home / "bentos" / name
    return bool(version) and (folder / version).exists()


def source_root() -> Path:
    """The root of the sources this package is imported from.

    Raises:
        SettingsError: it was installed without them.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / BENTOFILE).is_file():
        raise SettingsError(
            "The sources to build from are not here.", remedy="Build the Bento in a clone."
        )
    return root


def _source_digest(root: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(_sources(root)):
        total.update(f"{path.relative_to(root)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    for room in ROOMS:
        for path in (root / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
    yield from (root / name for name in ALSO)


def _remembered(memory: Path) -> Mapping[str, str]:
    try:
        content = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
