"""Where a model comes from: the code and the libraries that made it."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

LIBRARIES = (
    "numpy",
    "scikit-learn",
    "xgboost",
    "lightgbm",
    "onnx",
    "skl2onnx",
    "onnxmltools",
    "onnxruntime",
)


def library_versions() -> dict[str, str]:
    """Versions of Python and of everything that fits, exports or runs a model."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def git_commit(folder: Path) -> str:
    """The commit checked out in a folder, with `-dirty` where files differ; '' outside git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
