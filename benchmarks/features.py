"""How fast features are computed, against pandas in the same run.

Ours computes every credit_card feature of the whole file. The peer computes what
`groupby.rolling` can: counts and mean amounts over 1, 7 and 30 days, by user and by merchant.
Both start from the same frame in memory and end with columns in the order of its rows. Each
part runs in a process of its own, so that its peak memory, its input included, is its own.

    make bench-features DATA=transactions.parquet
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.handbook import read_history
from benchmarks.memory import peak_mb
from benchmarks.report import publish
from feature_store.offline import feature_matrix
from feature_store.schema import PANDAS_TYPES, arrow_schema
from fraud.domain.errors import FraudError, SettingsError
from fraud.types.credit_card import CREDIT_CARD

REPEATS = 3
GROWTH = 4
PEER_WINDOWS = ("1D", "7D", "30D")
console = Console(stderr=True)


def main() -> None:
    """Run the parts and print one JSON line."""
    data = os.environ.get("DATA", "")
    if not data:
        raise SettingsError(
            "bench-features needs a file of transactions.",
            remedy="make bench-features DATA=handbook_transactions.parquet",
        )
    with TemporaryDirectory() as folder:
        history = read_history(Path(data), CREDIT_CARD)
        history.events.to_parquet(Path(folder, "events"))
        history.labels.to_parquet(Path(folder, "labels"))
        del history
        ours = part("ours", folder, 1)
        peer = part("peer", folder, 1)
        larger = part("ours", folder, GROWTH)
    result = {
        "rows": ours["rows"],
        "features": len(CREDIT_CARD.features),
        "ours_s": ours["seconds"],
        "peer_s": peer["seconds"],
        "peer": "pandas groupby.rolling, counts and means of 1, 7, 30 days, users and merchants",
        "ratio": round(peer["seconds"] / ours["seconds"], 1),
        "rows_per_s": round(ours["rows"] / ours["seconds"]),
        "growth": round(larger["seconds"] / ours["seconds"], 2),
        "growth_rows": larger["rows"],
        "peak_rss_mb": ours["peak_rss_mb"],
    }
    out = os.environ.get("OUT")
    publish(result, Path(out) if out else None)


def part(name: str, data: str, replicas: int) -> dict[str, float]:
    """One part in its own process: rows, best seconds, peak memory in MB."""
    with console.status(f"{name}, {replicas} x the rows ..."):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.features", name, data, str(replicas)],
            stdout=subprocess.PIPE,
            check=True,
        )
    found: dict[str, float] = json.loads(done.stdout)
    console.print(f"{name}, {found['rows']:,.0f} rows: {found['seconds']:.2f} s")
    return found


def measure(name: str, data: str, replicas: int) -> None:
    """The child's side of `part`."""
    events = _replicated(_read(Path(data, "events")), replicas)
    work: Callable[[], object]
    if name == "ours":
        labels = pd.read_parquet(Path(data, "labels"))
        feature_matrix(CREDIT_CARD, events.head(1000), labels)  # loads the compiled kernels
        repeats, work = REPEATS, lambda: feature_matrix(CREDIT_CARD, events, labels)
    else:
        repeats, work = 1, lambda: rolling(events)
    before_mb = peak_mb()
    seconds = min(_seconds(work) for _ in range(repeats))
    result = {
        "rows": len(events),
        "seconds": round(seconds, 3),
        "peak_rss_mb": round(peak_mb()),
        "input_rss_mb": round(before_mb),
    }
    print(json.dumps(result))


def rolling(events: pd.DataFrame) -> list[pd.DataFrame]:
    """The peer: pandas' own point-in-time windows, the event itself left out."""
    table = events[["event_time", "user_id", "merchant_id", "amount_minor"]]
    return [
        table.groupby(entity)
        .rolling(window, on="event_time", closed="left")["amount_minor"]
        .agg(["count", "mean"])
        .droplevel(0)
        .sort_index()
        for entity in ("user_id", "merchant_id")
        for window in PEER_WINDOWS
    ]


def _replicated(events: pd.DataFrame, replicas: int) -> pd.DataFrame:
    """The same history lived by so many times as many users and merchants."""
    if replicas == 1:
        return events
    copies = []
    for number in range(replicas):
        copy = events.copy()
        copy["seq"] = events["seq"] * replicas + number
        for name in ("transaction_id", "user_id", "merchant_id"):
            copy[name] = copy[name] + (f"#{number}" if number else "")
        copies.append(copy)
    del events
    return pd.concat(copies).sort_values("seq", kind="stable", ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    """A frame as the lake gives it, without the memory a plain read leaves."""
    table = pq.read_table(path).cast(arrow_schema(CREDIT_CARD, "events"))
    frame: pd.DataFrame = table.to_pandas(
        split_blocks=True, self_destruct=True, types_mapper=PANDAS_TYPES.get, ignore_metadata=True
    )
    del table
    pa.default_memory_pool().release_unused()
    return frame


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    try:
        if len(sys.argv) > 1:
            measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
        else:
            main()
    except FraudError as error:
        sys.exit(str(error))
