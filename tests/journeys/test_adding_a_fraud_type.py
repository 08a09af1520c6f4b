"""`docs/adding-a-fraud-type.md`, followed to the letter by somebody who cannot improvise."""

import csv
import datetime as dt
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fraud.settings import load_settings
from tests.journeys.platform import running, small_world, with_a_model
from tests.servers import temporary_run_dir

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-fraud-type.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
DAYS = 75
ELSEWHERE = "a second terminal"

pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Block:
    """A fenced block of the page."""

    language: str
    title: str
    text: str


def blocks() -> list[Block]:
    return [Block(*found.groups(default="")) for found in BLOCK.finditer(PAGE.read_text())]


def commands() -> list[str]:
    """What the page has typed into the first terminal, in order."""
    return [each.text for each in blocks() if each.language == "sh" and not each.title]


def write_vouchers(path: Path, header: list[str]) -> None:
    """A file nobody has seen before: most people buy little, thieves share devices."""
    rng = random.Random(20)
    yesterday = dt.datetime.combine(dt.date.today() - dt.timedelta(days=1), dt.time())  # noqa: DTZ011
    rows = []
    for number in range(DAYS * 120):
        moment = yesterday - dt.timedelta(days=DAYS * rng.random())
        is_fraud = rng.random() < 0.03
        thief = is_fraud and rng.random() < 0.8
        known = is_fraud and rng.random() < 0.95
        reported = moment + dt.timedelta(days=rng.uniform(0.5, 6))
        device = f"D-X{moment.toordinal() // 5}" if thief else f"D-{rng.randrange(600)}"
        cents = rng.choice([2500, 5000, 10_000, 20_000]) if is_fraud else rng.randrange(500, 9_000)
        known = known and reported < yesterday
        rows.append(
            {
                "redeemed_at": moment.strftime("%Y-%m-%d %H:%M:%S"),
                "voucher": f"V-{number}",
                "shop": f"S-{rng.randrange(30):02d}",
                "customer": f"C-{rng.randrange(600):04d}",
                "cents": cents,
                "channel": rng.choice(["app", "web", "till"]),
                "device": device if rng.random() < 0.9 else "",
                "disputed": "yes" if known else "no",
                "disputed_at": reported.strftime("%Y-%m-%d %H:%M:%S") if known else "",
            }
        )
    assert list(rows[0]) == header, "the page shows other columns"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["redeemed_at"]))


class Terminal:
    """A shell that keeps its folder and variables from block to block, as a person's does."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder, self._environment = folder, environment

    def type(self, text: str) -> str:
        """What a block prints; its folder and exported variables are kept for the next one."""
        script = f"set -e\n{text}\nprintf '\\n--kept--\\n'\npwd\nexport -p"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        printed, _, kept = done.stdout.rpartition("\n--kept--\n")
        lines = kept.splitlines()
        self._folder = Path(lines[0])
        for line in lines[1:]:
            found = re.fullmatch(r'declare -x (FRAUD_TYPES_PATH|PATH)="(.*)"', line)
            if found:
                self._environment[found[1]] = found[2]
        return printed

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def environment(self) -> dict[str, str]:
        return self._environment


@pytest.fixture(scope="module")
def followed(
    tmp_path_factory: pytest.TempPathFactory, bento_dir: Path
) -> Iterator[tuple[Terminal, list[str]]]:
    """The page, typed from top to bottom; what each command printed."""
    clone = tmp_path_factory.mktemp("page") / "clone"
    clone.mkdir()
    (clone / ".venv").symlink_to(Path(sys.executable).parent.parent)
    with temporary_run_dir() as run_dir:
        with_a_model(load_settings(run_dir=run_dir))  # of cards, which this is not about
        terminal = Terminal(clone, small_world(run_dir, bento_dir))
        prepare, look, ingest, pipeline, score = commands()
        printed = [terminal.type(prepare)]
        [sample] = [each.text for each in blocks() if each.language == "csv"]
        write_vouchers(terminal.folder / "vouchers.csv", sample.splitlines()[0].split(","))
        for block in blocks():
            if block.language in ("python", "yaml"):
                (terminal.folder / block.title).write_text(block.text)
        printed.append(terminal.type(look))
        [start] = [each.text for each in blocks() if each.title == ELSEWHERE]
        assert start.strip() == "fraud run", "the one command that `running` types"
        with running(terminal.environment):
            printed += [terminal.type(block) for block in (ingest, pipeline, score)]
            yield terminal, printed


def test_the_new_type_is_known_without_touching_the_clone(
    followed: tuple[Terminal, list[str]],
) -> None:
    terminal, (_, listed, *_) = followed
    assert terminal.folder.name == "voucher-fraud"
    assert "device_distinct_customer_id_1d" in listed


def test_every_row_of_the_file_came_in(followed: tuple[Terminal, list[str]]) -> None:
    _, (_, _, ingested, *_) = followed
    assert f"{DAYS * 120:,}" in ingested
    assert re.search(r"quarantined\D+0\b", ingested), ingested


def test_a_model_was_promoted_and_answers(followed: tuple[Terminal, list[str]]) -> None:
    _, (_, _, _, pipeline, answered) = followed
    assert "is promoted True" in pipeline
    assert pipeline.rstrip().splitlines()[-1].startswith("Done after")
    reply = json.loads(answered)
    assert reply["model_version"].startswith("voucher-")
    assert reply["fraud_type"] == "voucher"
    assert not reply["degraded"]


def test_it_beats_chance_by_far(followed: tuple[Terminal, list[str]]) -> None:
    _, (_, _, _, pipeline, _) = followed
    areas = [float(found) for found in re.findall(r"roc auc ([0-9.]+)", pipeline)]
    assert max(areas) > 0.8, pipeline


def test_the_page_leaves_no_block_untyped() -> None:
    known = {"sh", "python", "yaml", "csv"}
    assert {each.language for each in blocks()} == known
    assert len(commands()) == 5
