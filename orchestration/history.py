"""Since when there is a history: the first day of the daily partitions of each fraud type."""

import datetime as dt
import json
import os
from pathlib import Path

from fraud.domain.fraud_type import FraudType
from fraud.settings import Settings


def history_start(settings: Settings, fraud_type: FraudType, today: dt.date) -> dt.date:
    """The first day of the simulated history of a fraud type.

    It is fixed the first time anybody asks, `history_days` before that day, so that a running
    installation always sees the same world.
    """
    path = _path(settings)
    stored = _read(path)
    if fraud_type.name not in stored:
        start = today - dt.timedelta(days=settings.history_days)
        stored[fraud_type.name] = start.isoformat()
        _write(path, stored)
    return dt.date.fromisoformat(stored[fraud_type.name])


def partitions_start(settings: Settings, fraud_type: FraudType, today: dt.date) -> dt.date:
    """The first daily partition: where the history begins, or a file that reaches further back."""
    start = history_start(settings, fraud_type, today)
    ingested = _read(_path(settings)).get(_ingested(fraud_type))
    return start if ingested is None else min(start, dt.date.fromisoformat(ingested))


def widen_history(settings: Settings, fraud_type: FraudType, first: dt.date) -> None:
    """Let the partitions begin on `first`, if they began later so far."""
    path = _path(settings)
    stored = _read(path)
    known = stored.get(_ingested(fraud_type))
    if known is None or first < dt.date.fromisoformat(known):
        stored[_ingested(fraud_type)] = first.isoformat()
        _write(path, stored)


def holds_files(settings: Settings, fraud_type: FraudType) -> bool:
    """Whether files were ingested by hand: no source can give those rows a second time."""
    return _files(fraud_type) in _read(_path(settings))


def note_files(settings: Settings, fraud_type: FraudType, now: dt.datetime) -> None:
    """Remember that files are being ingested by hand; do so before their rows are written."""
    path = _path(settings)
    stored = _read(path)
    stored.setdefault(_files(fraud_type), now.isoformat())
    _write(path, stored)


def _files(fraud_type: FraudType) -> str:
    return f"{fraud_type.name} holds files since"


def _ingested(fraud_type: FraudType) -> str:
    return f"{fraud_type.name} ingested"


def _path(settings: Settings) -> Path:
    return settings.run_dir / "state" / "history.json"


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    content: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.tmp")
    part.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(path)
