"""Transactions from CSV and Parquet files, in pieces."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from fraud.domain.errors import MalformedInput, NotFound
from orchestration.sources.batch import Batch, BrokenRow
from orchestration.sources.mapping import Mapping
from orchestration.sources.renaming import check_columns, rename

PIECE_ROWS = 250_000
"""Rows of a file that are in memory at a time."""

_CSV_BLOCK_BYTES = 32 * 2**20
_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")


class FileSource:
    """A file of transactions, with their labels if it has any.

    Raises:
        NotFound: there is no such file.
        MalformedInput: it is neither CSV nor Parquet, or it cannot be read as such.
        InvalidField: a mapped column is missing.
    """

    def __init__(self, path: Path, mapping: Mapping) -> None:
        if not path.is_file():
            raise NotFound(f"There is no file {path}.", remedy="Check the path.")
        if not path.name.lower().endswith(_PARQUET + _CSV):
            raise MalformedInput(
                f"{path.name} is neither CSV nor Parquet by its name.",
                remedy=f"Its name must end in one of {' '.join(_PARQUET + _CSV)}.",
            )
        self.path = path
        self.mapping = mapping
        self.is_parquet = path.name.lower().endswith(_PARQUET)
        with self._readable():
            self.size = pq.read_metadata(path).num_rows if self.is_parquet else None

    @property
    def name(self) -> str:
        return self.path.name

    def batches(self, first: dt.date | None = None, last: dt.date | None = None) -> Iterator[Batch]:
        with self._readable():
            yield from self._parquet() if self.is_parquet else self._csv()

    def _parquet(self) -> Iterator[Batch]:
        with pq.ParquetFile(self.path) as file:
            check_columns(self.mapping, file.schema_arrow.names, self.name)
            start = 1
            for piece in file.iter_batches(PIECE_ROWS, columns=self.mapping.columns()):
                rows = _to_frame(piece)
                rows.index = pd.RangeIndex(start, start + len(rows))
                start += len(rows)
                yield rename(self.mapping, rows)

    def _csv(self) -> Iterator[Batch]:
        broken: list[BrokenRow] = []

        def set_aside(row: Any) -> str:
            reason = (
                f"the row has {row.actual_columns} cells where {row.expected_columns} are "
                "expected. Quote cells that contain the delimiter or a line end."
            )
            # Numbers count from the header, which is row 1 of the file.
            broken.append(BrokenRow((row.number or 0) - 1, row.text, reason))
            return "skip"

        parse = arrow_csv.ParseOptions(
            delimiter=self._delimiter(), newlines_in_values=True, invalid_row_handler=set_aside
        )
        columns = self._header(parse)
        check_columns(self.mapping, columns, self.name)
        reader = arrow_csv.open_csv(
            self.path,
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
            parse_options=parse,
            convert_options=arrow_csv.ConvertOptions(
                include_columns=self.mapping.columns(),
                column_types=dict.fromkeys(columns, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
        start, told = 1, 0
        for piece in reader:
            numbers, start = _row_numbers(start, len(piece), [row.row_number for row in broken])
            rows = _to_frame(piece)
            rows.index = pd.Index(numbers)
            batch = rename(self.mapping, rows)
            aside, told = broken[told:], len(broken)
            yield Batch(batch.transactions, batch.labels, aside)
        if told < len(broken):
            empty = _to_frame(pa.table({name: pa.array([], pa.string()) for name in columns}))
            yield Batch(*_halves(rename(self.mapping, empty)), broken[told:])

    def _delimiter(self) -> str:
        is_default = self.mapping.delimiter == ","
        return "\t" if is_default and ".tsv" in self.path.suffixes else self.mapping.delimiter

    def _header(self, parse: Any) -> list[str]:
        options = arrow_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES)
        quiet = arrow_csv.ParseOptions(
            delimiter=parse.delimiter,
            newlines_in_values=True,
            invalid_row_handler=lambda _row: "skip",
        )
        with arrow_csv.open_csv(self.path, read_options=options, parse_options=quiet) as reader:
            names: list[str] = reader.schema.names
            return names

    def _readable(self) -> "_Readable":
        return _Readable(self.path)


class _Readable:
    """Turns what Arrow says about an unreadable file into one clear sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, pa.ArrowInvalid | OSError | UnicodeDecodeError):
            says = str(error).strip().split("\n")[0]
            raise MalformedInput(
                f"{self.path.name} cannot be read: {says}.".replace("..", "."),
                remedy="Check that it is a complete Parquet file, or CSV in UTF-8 with a header.",
            ) from error


def _halves(batch: Batch) -> tuple[pd.DataFrame, pd.DataFrame]:
    return batch.transactions, batch.labels


def _row_numbers(start: int, size: int, broken: list[int]) -> tuple[np.ndarray, int]:
    """Numbers of the next `size` good rows, leaving out those of broken ones."""
    candidates = np.arange(start, start + size + len(broken))
    numbers = candidates[~np.isin(candidates, broken)][:size]
    return numbers, int(numbers[-1]) + 1 if size else start


def _to_frame(piece: Any) -> pd.DataFrame:
    table = piece if isinstance(piece, pa.Table) else pa.Table.from_batches([piece])
    types = {pa.string(): pd.StringDtype("pyarrow"), pa.bool_(): pd.BooleanDtype()}
    types |= {kind: pd.Int64Dtype() for kind in (pa.int64(), pa.int32(), pa.int16(), pa.int8())}
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get)
    return frame
