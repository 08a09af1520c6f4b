"""Chaos: real faults on real processes under load; nothing acknowledged may be lost or doubled.

    python -m benchmarks.chaos           # N= kills, SEED= of what is sent, OUT= a file

The service (BentoML, two workers) and PostgreSQL run as they do in production, callers send
until they are answered, and in the end the ledger is compared with what they were told.
"""

import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.chaos_check import check
from benchmarks.chaos_load import Load
from benchmarks.chaos_model import promote
from benchmarks.chaos_service import Database, Service, clock_off_by, full_disk
from benchmarks.report import Out, benchmark, publish
from bentos.scoring.bundle import MODEL_FILE
from fraud.ledger.schema import migrate
from fraud.security.tokens import issue
from fraud.settings import Settings, load_settings

HOUR_S = 3600
OUTAGE_S = 3.0
SWAPS = 3
FAULTS = ("kills", "database", "disk", "swaps", "model", "clock", "duplicates")
ALL_AT_ONCE = 10
"""Every so many kills take BentoML's own processes as well."""


class Chaos:
    """One run.

    Args:
        settings: of the service.
        database: its ledger.
        seed: of what is sent.
        say: told of progress.
    """

    def __init__(
        self, settings: Settings, database: Database, seed: int, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._database = database
        self._seed = seed
        self._say = say
        self._rng = random.Random(seed)
        self.service = Service(settings)
        self.load = Load(self.service.url, _token(settings), seed)
        self.faults: dict[str, Any] = {}

    def run(self, kills: int, faults: Sequence[str]) -> None:
        """The faults, one after the other, under load that never stops."""
        known = {
            "kills": lambda: self._kills(kills),
            "database": self._database_faults,
            "disk": self._full_disk,
            "swaps": self._swaps,
            "model": self._corrupted_model,
            "clock": self._clocks,
            "duplicates": self._duplicates,
        }
        self.service.start()
        with self.load:
            for each in faults:
                self._flow()
                known[each]()
            self._flow()
            self.service.wait_until_reconciled()

    def _kills(self, kills: int) -> None:
        for number in range(1, kills + 1):
            time.sleep(self._rng.random() * 0.5)
            if number % ALL_AT_ONCE:
                self.service.kill_workers()
            else:
                self.service.kill()
                self.service.start()
            self._flow()
            self._say(f"kill {number} of {kills}: {self.load.answers.count:,} acknowledged")
        self.faults["kills"] = kills

    def _database_faults(self) -> None:
        answers = self.load.answers
        before = answers.degraded
        with self._database.stopped():
            self._flow()
            self.load.stampede(f"STAMPEDE_{self._seed}_AWAY")
            self.service.kill_workers()  # the journal has to outlive them
            self._flow()
        self._recovered("database stopped and started")
        answers.slowest_s = 0.0  # before, callers waited for workers that were killed
        with self._database.stopped(at_once=True):
            time.sleep(OUTAGE_S)
        self._recovered("database killed and started")
        with self._database.frozen():
            time.sleep(OUTAGE_S)
        self._recovered("database frozen")
        self.faults["database_outages"] = 3
        self.faults["slowest_in_outage_s"] = round(answers.slowest_s, 2)
        self.faults["degraded_answers"] = answers.degraded - before

    def _full_disk(self) -> None:
        refused = self.load.answers.refused[503]
        journal = self._settings.journal_dir
        with full_disk(journal, self.service.workers()) as kind:
            with self._database.stopped():
                self.service.wait(
                    lambda: self.load.answers.refused[503] > refused + 20, "the disk to be full"
                )
                self.service.wait(lambda: self.service.get("/readyz") == 503, "the probe to see")
            self._recovered(f"disk full ({kind})")
        self.faults["full_disk"] = kind
        self.faults["full_disk_refusals"] = self.load.answers.refused[503] - refused

    def _swaps(self) -> None:
        before = sum(self.load.answers.refused.values())
        for number in range(SWAPS):
            self._swap(f"swapped-{number}")
        self.faults["swaps"] = SWAPS
        self.faults["swap_failures"] = sum(self.load.answers.refused.values()) - before
        self._say(f"{SWAPS} champions swapped")

    def _swap(self, version: str) -> None:
        promote(self._settings, version)
        self.service.wait(lambda: self._model() == (version, "ok"), "the swap")
        self._flow()

    def _corrupted_model(self) -> None:
        files = list(self._settings.bundle_dir.glob(f"*/{MODEL_FILE}"))
        for each in files:
            _flip_a_byte(each)
        self.service.wait(lambda: self._model()[1] == "stale", "the damage to be seen")
        self._flow()  # what was loaded goes on
        self.service.kill()
        self.service.start()
        self.service.wait(lambda: self._model() == (None, "refused"), "the refusal")
        self._flow()  # rules alone
        for each in files:
            _flip_a_byte(each)
        self.service.wait(lambda: self._model()[1] == "ok", "the repair to be seen")
        self.faults["models_corrupted"] = len(files)
        self._say("model file corrupted and repaired")

    def _clocks(self) -> None:
        if clock_off_by(0) is None:
            self.faults["clock"] = "skipped: libfaketime is not installed"
            self._say("clock: libfaketime is not installed")
            return
        for seconds in (HOUR_S, -HOUR_S, 0):
            self.service.end()
            self.service.start(clock_off_by(seconds) if seconds else None)
            self._flow(200)
            self._say(f"clock off by {seconds:+d} s")
        self.faults["clock"] = "an hour ahead, then an hour behind"

    def _duplicates(self) -> None:
        for number in range(5):
            self.load.stampede(f"STAMPEDE_{self._seed}_{number}")
        self.faults["stampedes"] = 6
        self._say("50 concurrent duplicates, six times")

    def _model(self) -> tuple[str | None, str]:
        health = self.service.health()
        found = health["champions"]["credit_card"] if health else {}
        return found.get("model_version"), found.get("status", "")

    def _flow(self, answers: int = 40) -> None:
        """Wait until so many more transactions are acknowledged."""
        wanted = self.load.answers.count + answers
        self.service.wait(lambda: self.load.answers.count >= wanted, "answers")

    def _recovered(self, what: str) -> None:
        self.service.wait_until_reconciled()
        self._flow()
        self._say(f"{what}: {self.load.answers.count:,} acknowledged")


def run(
    kills: int, seed: int, say: Callable[[str], None], faults: Sequence[str] = FAULTS
) -> dict[str, Any]:
    """Everything, in a folder that is gone afterwards; the report."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="fraud-chaos-"))
    database = Database(folder)
    try:
        url = database.start()
        migrate(url)
        settings = load_settings(run_dir=folder, database_url=url, workers=2)
        promote(settings, "first")
        chaos = Chaos(settings, database, seed, say)
        try:
            chaos.run(kills, faults)
        finally:
            chaos.service.end()
        answers = chaos.load.answers
        found = asdict(check(url, answers.decisions))
        return {
            "benchmark": "chaos",
            "acknowledged": answers.count,
            **{name: found.pop(name) for name in ("lost", "doubled", "unpaired")},
            **found,
            **chaos.faults,
            "unexpected": answers.unexpected,
            "without_retry_after": answers.rude,
            "replayed_answers": answers.replayed,
            "refused": {str(status): n for status, n in sorted(answers.refused.items())},
            "seed": seed,
            "seconds": round(time.monotonic() - started, 1),
        }
    finally:
        database.stop(at_once=True)
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def is_sound(report: dict[str, Any]) -> bool:
    """Whether nothing was lost, doubled, left without its pair, or answered as it must not be."""
    wrong = ("lost", "doubled", "unpaired", "broken", "unexpected", "without_retry_after")
    return report["acknowledged"] > 0 and not any(
        report.get(name) for name in (*wrong, "swap_failures")
    )


def _token(settings: Settings) -> str:
    """One that a clock an hour off takes for valid."""
    return issue(
        secret=settings.jwt_secret,
        subject="chaos",
        scopes=["fraud_detection"],
        lifetime_s=24 * HOUR_S,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        now_s=time.time() - 2 * HOUR_S,
    )


def _flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def main(
    n: Annotated[int, typer.Option(envvar="N", min=1, help="Kills of the service.")] = 100,
    seed: Annotated[int, typer.Option(envvar="SEED", min=0, help="Of what is sent.")] = 7,
    only: Annotated[str, typer.Option(envvar="ONLY", help="These faults.")] = ",".join(FAULTS),
    out: Out = None,
) -> None:
    """Break things under load; one JSON line comes last."""
    faults = only.split(",")
    if unknown := [each for each in faults if each not in FAULTS]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(FAULTS)}.")
    with benchmark("chaos") as console:
        report = run(n, seed, lambda text: console.print(text, highlight=False), faults)
    publish(report, out)
    if not is_sound(report):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
