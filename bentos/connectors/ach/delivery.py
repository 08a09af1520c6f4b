"""What `fraud ach decide` leaves behind; written again, every file is replaced whole.

decisions.jsonl, decisions.csv  one entry each, in the order of the file
quarantine.jsonl                entries that could not be decided, by line
released.ach                    a NACHA file of what may go on, if anything may
review.ach                      likewise of what waits for people
summary.json                    written last: where it is, the others are complete
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from bentos.connectors.ach.deciding import EntryDecision
from bentos.connectors.ach.file import AchFile, Batch, Fault, write_file
from bentos.connectors.ach.records import MIXED, Totals
from fraud.domain.errors import SettingsError

SUMMARY = "summary.json"


def deliver(
    file: AchFile,
    decisions: Sequence[EntryDecision],
    faults: Sequence[Fault],
    folder: Path,
    *,
    releases_reviews: bool = False,
) -> dict[str, Any]:
    """Write the results of a file into a folder; gives the summary.

    A batch whose debits and credits balanced is held back whole when one of its entries is: the
    originator's offsetting entry would be wrong. Its approved entries go to review.

    Raises:
        SettingsError: the folder cannot be written.
    """
    allowed = ("approve", "review") if releases_reviews else ("approve",)
    passed = {each.line for each in decisions if each.action in allowed}
    decided = {each.line for each in decisions if each.action != "block"}
    faulty = {fault.line for fault in faults}
    held = {
        entry.line
        for batch in file.batches
        if _loses_balance(batch, passed - faulty)
        for entry in batch.entries
    }
    released = passed - held - faulty
    summary = {
        "entries": len(decisions) + len(faults),
        "actions": dict(sorted(Counter(each.action for each in decisions).items())),
        "quarantined": len(faults),
        "held_to_keep_batches_balanced": len(held & passed),
        "released": len(released),
        "degraded": sum(each.degraded for each in decisions),
        "deadlines": _deadlines(decisions),
    }
    rows = [asdict(each) | {"released": each.line in released} for each in decisions]
    contents = {
        "decisions.jsonl": _json_lines(rows),
        "decisions.csv": _csv(rows),
        "quarantine.jsonl": _json_lines(asdict(fault) for fault in faults),
        "released.ach": _part(file, released),
        "review.ach": _part(file, decided - released),
        SUMMARY: (json.dumps(summary, indent=2) + "\n").encode(),
    }
    try:
        _replace(folder, contents)
    except OSError as error:
        raise SettingsError(
            f"{folder} cannot be written: {error.strerror}.", remedy="Name another --out."
        ) from None
    return summary


def _part(file: AchFile, lines: Set[int]) -> bytes:
    """A file of the entries on these lines; nothing where there are none."""
    return write_file(file, lambda entry: entry.line in lines) if lines else b""


def _loses_balance(batch: Batch, passed: Set[int]) -> bool:
    """Whether a batch that came with its own offsetting entry would go on without balance."""
    came = Totals.of_batch_control(batch.control)
    if batch.header.service_class != MIXED or came.debit_minor != came.credit_minor:
        return False
    left = tuple(entry for entry in batch.entries if entry.line in passed)
    totals = replace(batch, entries=left).totals
    return totals.debit_minor != totals.credit_minor


def _replace(folder: Path, contents: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SUMMARY).unlink(missing_ok=True)
    for name, content in contents.items():
        if not content and name.endswith(".ach"):
            (folder / name).unlink(missing_ok=True)
            continue
        draft = folder / f".{name}.{os.getpid()}"
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / name)


def _deadlines(decisions: Iterable[EntryDecision]) -> list[dict[str, object]]:
    """Same-day entries by deadline, and how many of them will be late, and why."""
    found: dict[tuple[str, str], int] = Counter(
        (each.deadline, each.late) for each in decisions if each.deadline or each.late
    )
    return [
        {"deadline": due or None, "entries": count, "late": late or None}
        for (due, late), count in sorted(found.items())
    ]


def _json_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _csv(rows: Iterable[dict[str, Any]]) -> bytes:
    names = [*(each.name for each in fields(EntryDecision)), "released"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "rules": " ".join(row["rules"])} for row in rows)
    return text.getvalue().encode()
