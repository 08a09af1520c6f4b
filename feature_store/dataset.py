"""A feature frame as a Parquet dataset, in parts of consecutive events.

    <url>/part-00000.parquet ...    the frame, in observation order
    <url>/_labels.parquet           the canonical labels known when it was built
    <url>/_info.json                where it comes from; written last

Readers of Parquet pass over names that begin with an underscore, so `pandas.read_parquet`,
Dask and Spark take the folder as it is.
"""

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.schema import from_arrow
from feature_store.writing import replacing
from fraud.domain.errors import ContractError, NotFound

_INFO, _LABELS, SPILL = "_info.json", "_labels.parquet", "_spill"
LABELS_AT_A_TIME = 2**18


@dataclass(frozen=True)
class DatasetInfo:
    """Where a dataset comes from.

    Attributes:
        fraud_type: whose features it holds.
        schema_hash: of the features it was built with.
        first: first day observed.
        last: last day observed.
        cutoff: what was seen or reported at or after this moment is not in it.
        part_rows: events of each part.
    """

    fraud_type: str
    schema_hash: str
    first: dt.date
    last: dt.date
    cutoff: dt.datetime
    part_rows: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Events of all parts."""
        return sum(self.part_rows)


class FrameDataset:
    """A feature frame below one fsspec URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = fsspec.core.url_to_fs(url)

    def claim(self) -> list[str]:
        """Make the folder, and name what an earlier or half-built frame left in it.

        Raises:
            ContractError: there is something else.
        """
        self._fs.makedirs(self._root, exist_ok=True)
        paths = (str(path).rstrip("/") for path in self._fs.ls(self._root, False))
        names = [path.rsplit("/", 1)[-1] for path in paths]
        strange = sorted(name for name in names if not _is_ours(name))
        if strange:
            raise ContractError(
                f"{self.url} holds {strange[0]}, which is no part of a feature frame.",
                remedy="Give --out an empty or new folder, or one with an earlier frame.",
            )
        return names

    def clear(self, keep: str) -> None:
        """Remove an earlier or half-built frame, first of all its claim to be complete.

        Args:
            keep: URL of the running build's spill, which may be in the folder.
        """
        old = [name for name in self.claim() if not keep.endswith(f"/{name}")]
        for name in sorted(old, key=lambda each: each != _INFO):
            self._fs.rm(f"{self._root}/{name}", recursive=True)

    def write_part(self, number: int, table: Any) -> None:
        """Write one part: a `pyarrow.Table`."""
        keys = [field.name for field in table.schema if field.type == pa.string()]
        with replacing(self._fs, self._part(number)) as sink:
            pq.write_table(table, sink, compression="lz4", use_dictionary=keys)

    @contextmanager
    def writing_labels(self, schema: Any) -> Iterator[pq.ParquetWriter]:
        """A writer of the labels' tables, one after another."""
        with (
            replacing(self._fs, f"{self._root}/{_LABELS}") as sink,
            pq.ParquetWriter(sink, schema, compression="zstd") as writer,
        ):
            yield writer

    def finish(self, info: DatasetInfo) -> None:
        """Say that the dataset is complete."""
        with self._fs.open(f"{self._root}/{_INFO}", "w") as sink:
            json.dump(asdict(info), sink, default=str, indent=2)

    def info(self) -> DatasetInfo:
        """Where the frame comes from.

        Raises:
            NotFound: there is no complete frame.
        """
        try:
            with self._fs.open(f"{self._root}/{_INFO}", "r") as source:
                content = json.load(source)
        except FileNotFoundError:
            raise NotFound(
                f"There is no complete feature frame at {self.url}.",
                remedy="Build it: fraud features build FRAUD_TYPE --out URL",
            ) from None
        return DatasetInfo(
            fraud_type=content["fraud_type"],
            schema_hash=content["schema_hash"],
            first=dt.date.fromisoformat(content["first"]),
            last=dt.date.fromisoformat(content["last"]),
            cutoff=dt.datetime.fromisoformat(content["cutoff"]),
            part_rows=tuple(content["part_rows"]),
        )

    def part(self, number: int, columns: Sequence[str] | None = None) -> Any:
        """One part: `pyarrow.Table`."""
        with self._fs.open(self._part(number), "rb") as source:
            return pq.ParquetFile(source).read(None if columns is None else list(columns))

    def frame(self) -> pd.DataFrame:
        """All of it, as `feature_store.offline.build_frame` gives it."""
        parts = [self.part(number) for number in range(len(self.info().part_rows))]
        return from_arrow(pa.concat_tables(parts))

    def label_tables(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """The labels, in tables of at most `LABELS_AT_A_TIME` rows."""
        with self._fs.open(f"{self._root}/{_LABELS}", "rb") as source:
            file = pq.ParquetFile(source, pre_buffer=False)
            for batch in file.iter_batches(LABELS_AT_A_TIME, columns=columns, use_threads=False):
                yield pa.Table.from_batches([batch])

    def _part(self, number: int) -> str:
        return f"{self._root}/part-{number:05}.parquet"


def _is_ours(name: str) -> bool:
    is_part = name.startswith("part-") and ".parquet" in name
    return is_part or name == _INFO or name.startswith((_LABELS, SPILL))
