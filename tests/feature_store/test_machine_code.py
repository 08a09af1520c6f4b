"""Machine code follows the sources it was made from, also those of other files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import feature_store
from feature_store.machine_code import digest_of, sources

ASK = "from feature_store.distances import distance_m; print(distance_m(1 << 40, 1 << 41))"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources of loops, to be changed."""
    root = Path(feature_store.__path__[0]).parent
    for name in ("feature_store", "fraud/domain"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "fraud" / "__init__.py", tmp_path / "fraud")  # else it is found elsewhere
    return tmp_path


def distance(tree: Path) -> int:
    """What another process says that stands in a tree."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    return int(done.stdout)


def test_a_constant_that_changes_in_another_file_changes_what_is_computed(copy: Path) -> None:
    before = distance(copy)
    places = copy / "fraud" / "domain" / "places.py"
    text = places.read_text()
    changed = text.replace("EARTH_RADIUS_M = 6_371_008.8", "EARTH_RADIUS_M = 12_742_017.6")
    assert changed != text
    places.write_text(changed)
    assert abs(distance(copy) - 2 * before) <= 1


def test_every_source_counts(copy: Path) -> None:
    files = [copy / each.relative_to(Path(feature_store.__path__[0]).parent) for each in sources()]
    found = {digest_of(files)}
    for file in (files[0], files[len(files) // 2], files[-1]):
        file.write_text(file.read_text() + "\n")
        found.add(digest_of(files))
    assert len(found) == 4
    assert any(each.name == "state_machine.py" for each in files)
