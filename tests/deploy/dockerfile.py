"""A Dockerfile's stages, and their steps carried out below a folder instead of in a container."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One stage.

    Attributes:
        name: what it is called, "" for the last one.
        steps: instruction and arguments, in order.
    """

    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def arguments(self, instruction: str) -> list[str]:
        return [rest for name, rest in self.steps if name == instruction]

    def environment(self) -> dict[str, str]:
        found = " ".join(self.arguments("ENV"))
        return dict(re.findall(r"(\w+)=(\S+)", found))


def stages(path: Path) -> list[Stage]:
    """The stages of a Dockerfile."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    found: list[Stage] = []
    for instruction in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, rest = instruction.partition(" ")
        if name == "FROM":
            found.append(Stage(rest.partition(" AS ")[2]))
        elif found and name:
            found[-1].steps.append((name, rest))
    return found


def carry_out(stage: Stage, context: Path, root: Path, **environment: str) -> None:
    """Copy and run what a stage does in /app below `root` instead.

    Args:
        stage: its RUN and COPY steps are carried out.
        context: the folder of the build.
        root: stands for `/`.
        environment: more variables for its commands.
    """
    place = root / "app"
    place.mkdir()
    for name, rest in stage.steps:
        if name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                _copy(context / source, place / target, is_into=len(sources) > 1)
        elif name == "RUN":
            command = re.sub(r"(?<=[= ])/(app|tmp)\b", rf"{root}/\1", rest)
            done = subprocess.run(
                ["/bin/sh", "-ec", command],
                cwd=place,
                env={
                    **os.environ,
                    "UV_SYSTEM_CERTS": "1",
                    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=280,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


def _copy(source: Path, target: Path, *, is_into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        return
    target = target / source.name if is_into or target.is_dir() else target
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
