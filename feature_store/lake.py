"""The event log: every event and label of a fraud type, as Parquet by the day we saw it.

    <url>/<fraud_type>/events/observed_date=YYYY-MM-DD/part-0.parquet
    <url>/<fraud_type>/labels/reported_date=YYYY-MM-DD/part-0.parquet

The url is any that fsspec understands. A day is one file that is only ever replaced as a
whole, so a rerun cannot double a row. Rows of a day are sorted by their observation number.
Beside the canonical columns, each row says when it was first written: a day may gain rows long
after it was over, and only this tells who could have read them.
"""

import datetime as dt
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from feature_store.observation import Ints, check_numbers, number_observations
from feature_store.schema import arrow_schema, from_arrow, to_arrow
from feature_store.writing import exclusively, replacing
from fraud.domain.errors import ContractError
from fraud.domain.event import to_us
from fraud.domain.fraud_type import FraudType

Stream = Literal["events", "labels"]

PARTITION = {"events": "observed_date", "labels": "reported_date"}
MOMENT = {"events": "observed_at", "labels": "reported_at"}
IDENTITY = {"events": ["transaction_id"], "labels": ["transaction_id", "source", "reported_at"]}
WRITTEN_AT = "written_at"
"""Column of the files: when a row was first written; null in files older than the column."""

_FILE = "part-0.parquet"
_READERS = 4
PIECE = 65_536
"""Most rows of a day that `Lake.pieces` gives at a time."""

_DAYS_AT_A_TIME = 30


class Lake:
    """The event log of all fraud types below one fsspec url.

    Frames carry `transaction_id` (string), `seq` (int64), times as `datetime64[us, UTC]`,
    `amount_minor` (int64) and the type's own fields (text: string, number: float64, flag:
    boolean); labels carry `transaction_id, is_fraud, reported_at, source, seq`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = fsspec.core.url_to_fs(url)

    def writing(self, fraud_type: FraudType) -> AbstractContextManager[None]:
        """Keep other writers of a fraud type's log out while reading it and changing it.

        On this machine's disks only: an object store needs its writers kept to one.
        """
        if not isinstance(self._fs, LocalFileSystem):
            return nullcontext()
        return exclusively(Path(self._root) / fraud_type.name / ".writing")

    def write_events(self, fraud_type: FraudType, day: dt.date, frame: pd.DataFrame) -> int:
        """Replace the events observed on a day; returns how many there are now.

        Args:
            fraud_type: whose events they are.
            day: the UTC day all of `observed_at` falls on.
            frame: canonical columns in the order of the source. Rows whose `seq` is null or
                absent are numbered by `observed_at`; a given number is kept, and it alone says
                which day the row belongs to.

        Raises:
            ContractError: a row belongs to another day, or an id or a given `seq` occurs twice.
        """
        if not frame["transaction_id"].is_unique:
            twice = frame["transaction_id"][frame["transaction_id"].duplicated()].iloc[0]
            raise ContractError(
                f"{fraud_type.name}: transaction {twice} occurs twice on {day}.",
                remedy="Settle duplicates before writing.",
            )
        with self.writing(fraud_type):
            return self._write(fraud_type, "events", day, frame)

    def write_labels(self, fraud_type: FraudType, day: dt.date, frame: pd.DataFrame) -> int:
        """Replace the labels reported on a day; returns how many there are now.

        Raises:
            ContractError: a row belongs to another day, or a given `seq` occurs twice.
        """
        with self.writing(fraud_type):
            return self._write(fraud_type, "labels", day, frame)

    def append(self, fraud_type: FraudType, stream: Stream, frame: pd.DataFrame) -> list[dt.date]:
        """Add rows to the days they belong to; returns those days.

        Rows that are there keep their numbers; new ones take the next free ones, so that a
        source read in pieces ends up in the order it would have if it had been read in one.
        """
        with self.writing(fraud_type):
            return self._append(fraud_type, stream, frame)

    def _append(self, fraud_type: FraudType, stream: Stream, frame: pd.DataFrame) -> list[dt.date]:
        days = frame[MOMENT[stream]].dt.date
        touched: list[dt.date] = []
        for day, rows in frame.groupby(days, sort=True):
            assert isinstance(day, dt.date)
            earlier = self._read(fraud_type, stream, day, day, None)
            merged = pd.concat([part for part in (earlier, rows) if len(part)], ignore_index=True)
            if stream == "events":
                self.write_events(fraud_type, day, merged)
            else:
                self.write_labels(fraud_type, day, merged)
            touched.append(day)
        return touched

    def rewrite(
        self,
        fraud_type: FraudType,
        day: dt.date,
        change: Callable[[pd.DataFrame], pd.DataFrame],
    ) -> None:
        """Replace a day's events by changed ones.

        Their numbers stay, and the moments at which they were first written.
        """
        with self.writing(fraud_type):
            frame = self._read(fraud_type, "events", day, day, None)
            self._write(fraud_type, "events", day, change(frame))

    def events(
        self,
        fraud_type: FraudType,
        first: dt.date | None = None,
        last: dt.date | None = None,
        as_of: dt.datetime | None = None,
    ) -> pd.DataFrame:
        """Events observed from `first` to `last` (both included), sorted by `seq`.

        Args:
            fraud_type: whose events.
            first: first day wanted; the beginning if None.
            last: last day wanted; the end if None.
            as_of: only what had been observed before this moment.
        """
        return self._read(fraud_type, "events", first, last, as_of)

    def labels(
        self,
        fraud_type: FraudType,
        first: dt.date | None = None,
        last: dt.date | None = None,
        as_of: dt.datetime | None = None,
    ) -> pd.DataFrame:
        """Labels reported from `first` to `last`, sorted by `seq`; see `events`."""
        return self._read(fraud_type, "labels", first, last, as_of)

    def days(self, fraud_type: FraudType, stream: Stream = "events") -> list[dt.date]:
        """The days that were written, also those on which nothing happened, in order."""
        folder = f"{self._root}/{fraud_type.name}/{stream}"
        if not self._fs.exists(folder):
            return []
        names = (str(path).rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(folder, False))
        key = PARTITION[stream] + "="
        return sorted(dt.date.fromisoformat(n.removeprefix(key)) for n in names if key in n)

    def days_between(
        self,
        fraud_type: FraudType,
        stream: Stream,
        first: dt.date | None = None,
        last: dt.date | None = None,
        as_of: dt.datetime | None = None,
    ) -> list[dt.date]:
        """The days that were written, of those that `events` or `labels` would read."""
        if as_of is not None:
            last = min(last or dt.date.max, as_of.astimezone(dt.UTC).date())
        return [
            day
            for day in self.days(fraud_type, stream)
            if (first is None or day >= first) and (last is None or day <= last)
        ]

    def pieces(
        self,
        fraud_type: FraudType,
        stream: Stream,
        day: dt.date,
        columns: Sequence[str] = (),
        rows: range | None = None,
    ) -> Iterator[Any]:
        """A day in tables of at most `PIECE` rows, sorted by `seq`; no more is held at a time.

        Args:
            fraud_type: whose day.
            stream: events or labels.
            day: one that was written.
            columns: those wanted; all if empty.
            rows: which of the day's rows; all if None.
        """
        schema = arrow_schema(fraud_type, stream)
        names = list(columns) or schema.names
        with self._fs.open(self._path(fraud_type, stream, day), "rb") as source:
            file = pq.ParquetFile(source, pre_buffer=False, buffer_size=PIECE)
            groups, rows = _row_groups(file.metadata, rows)
            present = [name for name in names if name in file.schema_arrow.names]
            begin = 0
            for batch in file.iter_batches(PIECE, groups, present, use_threads=False):
                start, stop = max(rows.start, begin), min(rows.stop, begin + len(batch))
                if start < stop:
                    part = pa.Table.from_batches([batch.slice(start - begin, stop - start)])
                    yield _conformed(part, schema, names)
                begin += len(batch)

    def transaction_ids(
        self, fraud_type: FraudType, except_days: Container[dt.date] = ()
    ) -> pa.StringArray:
        """Ids of all events but those of some days."""
        days = [day for day in self.days(fraud_type) if day not in except_days]
        tables = self._tables(fraud_type, "events", days, ["transaction_id"])
        if not tables:
            return pa.array([], pa.string())
        return pa.concat_tables(tables)["transaction_id"].combine_chunks()

    def find(
        self,
        fraud_type: FraudType,
        transaction_ids: pa.StringArray,
        except_days: Container[dt.date] = (),
    ) -> pd.DataFrame:
        """The events that have one of these ids, but those of some days; sorted by `seq`."""
        days = [day for day in self.days(fraud_type) if day not in except_days]
        return self._filtered(
            fraud_type,
            "events",
            arrow_schema(fraud_type, "events"),
            days,
            lambda table: pc.is_in(table["transaction_id"], transaction_ids),
        )

    def related(
        self, fraud_type: FraudType, stream: Stream, values: Mapping[str, pa.Array], last: dt.date
    ) -> pd.DataFrame:
        """The rows up to a day that have one of these values in its field, sorted by `seq`.

        They carry `written_at` as well: when each was first written; null if unknown.
        """

        def is_related(table: Any) -> Any:
            hits = [pc.is_in(table[field], wanted) for field, wanted in values.items()]
            return reduce(pc.or_, hits)

        days = self.days_between(fraud_type, stream, last=last)
        return self._filtered(
            fraud_type, stream, _file_schema(fraud_type, stream), days, is_related
        )

    def _filtered(
        self,
        fraud_type: FraudType,
        stream: Stream,
        schema: Any,
        days: list[dt.date],
        keep: Callable[[Any], Any],
    ) -> pd.DataFrame:
        """The rows of some days that a mask keeps; few days are in memory at a time."""
        found = []
        for start in range(0, len(days), _DAYS_AT_A_TIME):
            block = days[start : start + _DAYS_AT_A_TIME]
            table = pa.concat_tables(self._tables(fraud_type, stream, block, schema.names))
            found.append(table.filter(keep(table)))
        return from_arrow(pa.concat_tables(found) if found else schema.empty_table())

    def _path(self, fraud_type: FraudType, stream: Stream, day: dt.date) -> str:
        folder = f"{self._root}/{fraud_type.name}/{stream}/{PARTITION[stream]}={day.isoformat()}"
        return f"{folder}/{_FILE}"

    def _write(
        self, fraud_type: FraudType, stream: Stream, day: dt.date, frame: pd.DataFrame
    ) -> int:
        what = f"{fraud_type.name} {stream}"
        frame = frame.sort_values(MOMENT[stream], kind="stable")
        given = frame.get("seq", pd.Series(None, frame.index, dtype="Int64")).astype("Int64")
        has_seq = given.notna().to_numpy(bool)
        if not (frame[MOMENT[stream]][~has_seq].dt.date == day).all():
            raise ContractError(
                f"{what} of another day were given for {day}.",
                remedy=f"Write each row on the UTC day of its {MOMENT[stream]}.",
            )
        observed = frame[MOMENT[stream]].astype("datetime64[us, UTC]").to_numpy("datetime64[us]")
        taken: Ints = np.sort(given[has_seq].to_numpy(np.int64))
        check_numbers(taken, day, what)
        seq = given.to_numpy(np.int64, na_value=0)
        seq[~has_seq] = number_observations(observed.astype(np.int64)[~has_seq], day, taken)
        frame = frame.assign(seq=seq).sort_values("seq")
        table = to_arrow(fraud_type, stream, frame)
        written = self._first_written(fraud_type, stream, day, table)
        self._replace(self._path(fraud_type, stream, day), table.append_column(WRITTEN_AT, written))
        return len(frame)

    def _first_written(
        self, fraud_type: FraudType, stream: Stream, day: dt.date, table: Any
    ) -> Any:
        """When each row was first written: now, unless the day's file has it already."""
        keys = IDENTITY[stream]
        days = [day] if self._fs.exists(self._path(fraud_type, stream, day)) else []
        schema = _file_schema(fraud_type, stream)
        names = [*keys, WRITTEN_AT]
        earlier = self._tables(fraud_type, stream, days, names) or [schema.empty_table()]
        known = from_arrow(earlier[0].select(names)).drop_duplicates(keys)
        rows = from_arrow(table.select(keys)).merge(known, "left", keys, indicator="found")
        is_new = (rows["found"] == "left_only").to_numpy(bool)
        now = pa.scalar(dt.datetime.now(dt.UTC), schema.field(WRITTEN_AT).type)
        return pc.if_else(pa.array(is_new), now, pa.array(rows[WRITTEN_AT], now.type))

    def _replace(self, path: str, table: Any) -> None:
        with replacing(self._fs, path) as sink:
            pq.write_table(table, sink, compression="zstd")

    def _read(
        self,
        fraud_type: FraudType,
        stream: Stream,
        first: dt.date | None,
        last: dt.date | None,
        as_of: dt.datetime | None,
    ) -> pd.DataFrame:
        wanted = self.days_between(fraud_type, stream, first, last, as_of)
        schema = arrow_schema(fraud_type, stream)
        tables = self._tables(fraud_type, stream, wanted, schema.names)
        table = pa.concat_tables(tables) if tables else schema.empty_table()
        frame = from_arrow(table)
        if as_of is not None:
            frame = frame[frame["seq"] < to_us(as_of)].reset_index(drop=True)
        return frame

    def _tables(
        self, fraud_type: FraudType, stream: Stream, days: list[dt.date], columns: Sequence[str]
    ) -> list[Any]:
        schema = _file_schema(fraud_type, stream)

        def read(day: dt.date) -> Any:
            with self._fs.open(self._path(fraud_type, stream, day), "rb") as source:
                file = pq.ParquetFile(source)
                table = file.read([name for name in columns if name in file.schema_arrow.names])
            return _conformed(table, schema, columns)

        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(read, days))


def _file_schema(fraud_type: FraudType, stream: Stream) -> Any:
    """The columns of a file: the canonical ones, and when each row was first written."""
    return arrow_schema(fraud_type, stream).append(
        pa.field(WRITTEN_AT, pa.timestamp("us", tz="UTC"))
    )


def _conformed(table: Any, schema: Any, columns: Sequence[str]) -> Any:
    """These columns of the schema; a field the type gained after the day was written is null."""
    return pa.table(
        {
            name: table[name].cast(schema.field(name).type)
            if name in table.column_names
            else pa.nulls(len(table), schema.field(name).type)
            for name in columns
        }
    )


def _row_groups(metadata: Any, rows: range | None) -> tuple[list[int], range]:
    """The row groups that hold these rows, and where the rows are within them."""
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    rows = range(sum(sizes)) if rows is None else rows
    begin, skipped = 0, 0
    groups = []
    for number, size in enumerate(sizes):
        if begin + size <= rows.start:
            skipped += size
        elif begin < rows.stop:
            groups.append(number)
        begin += size
    return groups, range(rows.start - skipped, rows.stop - skipped)
