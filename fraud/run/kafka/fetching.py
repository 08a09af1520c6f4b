"""The broker's jars: fetched by Maven once, and kept in Maven's own cache."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from fraud.domain.errors import SettingsError

POM = Path(__file__).with_name("pom.xml")
FETCH_TIMEOUT_S = 600.0


def classpath(cache: Path) -> str:
    """The classpath of `kafka.Kafka`; its jars are downloaded where Maven has not got them.

    Args:
        cache: folder that remembers the answer, so that Maven is asked once.

    Raises:
        SettingsError: there is no JDK or no Maven, or the download failed.
    """
    kept = cache / f"classpath-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if kept.is_file():
        found = kept.read_text()
        if all(Path(jar).is_file() for jar in found.split(os.pathsep)):
            return found
    found = _resolved()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=cache, delete=False) as file:
        file.write(found)
    Path(file.name).rename(kept)
    return found


def program(name: str) -> str:
    """The path of `java` or `mvn`.

    Raises:
        SettingsError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise SettingsError(
            f"The program {name!r} is not installed: a Kafka broker of our own needs a JDK of "
            "version 17 or newer and Maven.",
            remedy="On Debian and Ubuntu: apt-get install openjdk-17-jre-headless maven. "
            "Or use a broker that runs already: FRAUD_KAFKA_SERVERS=host:port",
        )
    return path


def _resolved() -> str:
    program("java")
    with tempfile.TemporaryDirectory(prefix="fraud-kafka-") as folder:
        answer = Path(folder) / "classpath"
        command = [
            *(program("mvn"), "--quiet", "--batch-mode", "--no-transfer-progress"),
            *("--file", str(POM), "dependency:build-classpath", f"-Dmdep.outputFile={answer}"),
        ]
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
        )
        if ran.returncode:
            raise SettingsError(
                f"Maven could not fetch Kafka: {ran.stdout.strip()[-500:]}",
                remedy="Look at Maven's settings; it must reach Maven Central or a mirror of it.",
            )
        return answer.read_text().strip()
