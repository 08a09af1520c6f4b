"""Transactions from a table or a query of any database SQLAlchemy knows."""

import datetime as dt
from collections.abc import Iterator

import pandas as pd
import sqlalchemy as sa

from fraud.domain.errors import MalformedInput
from orchestration.sources.batch import Batch
from orchestration.sources.mapping import Mapping
from orchestration.sources.renaming import check_columns, rename

PIECE_ROWS = 100_000
"""Rows that are in memory at a time."""


class DatabaseSource:
    """A table (or view) or a query, read in pieces over one connection.

    Args:
        url: SQLAlchemy URL of the database.
        mapping: what it calls things.
        table: `name` or `schema.name`.
        query: a SELECT, instead of a table.

    Raises:
        MalformedInput: neither or both of table and query are given, or the database refuses.
        InvalidField: a mapped column is missing.
    """

    size: int | None = None

    def __init__(
        self, url: str, mapping: Mapping, table: str | None = None, query: str | None = None
    ) -> None:
        if (table is None) == (query is None):
            raise MalformedInput(
                "A database source needs a table or a query.", remedy="Give exactly one of them."
            )
        try:
            self.url = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise MalformedInput(
                "The source's database URL cannot be read.",
                remedy="Write it like postgresql+psycopg2://user:password@host/name.",
            ) from None
        self.mapping = mapping
        self.table = table
        self.query = query

    @property
    def name(self) -> str:
        return self.table or "query"

    def batches(self, first: dt.date | None = None, last: dt.date | None = None) -> Iterator[Batch]:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        try:
            with engine.connect() as connection:
                streaming = connection.execution_options(
                    stream_results=True, max_row_buffer=PIECE_ROWS
                )
                result = streaming.execute(self._select(connection, first, last))
                columns = list(result.keys())
                check_columns(self.mapping, columns, self.name)
                start = 1
                for rows in result.partitions(PIECE_ROWS):
                    index = pd.RangeIndex(start, start + len(rows))
                    frame = pd.DataFrame.from_records(rows, index=index, columns=columns)
                    start += len(rows)
                    yield rename(self.mapping, frame[self.mapping.columns()])
        except sa.exc.SQLAlchemyError as error:
            says = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
            raise MalformedInput(
                f"{self.url.render_as_string(hide_password=True)} refused {self.name}: {says}.",
                remedy="Check the URL, the table's name and the rights of the user.",
            ) from None
        finally:
            engine.dispose()

    def _select(
        self, connection: sa.Connection, first: dt.date | None, last: dt.date | None
    ) -> sa.Executable:
        if self.query is not None:
            return sa.text(self.query)
        schema, _, name = (self.table or "").rpartition(".")
        table = sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=connection)
        check_columns(self.mapping, list(table.columns.keys()), self.name)
        wanted = sa.select(*(table.columns[column] for column in self.mapping.columns()))
        return wanted.where(*self._bounds(table, first, last))

    def _bounds(
        self, table: sa.Table, first: dt.date | None, last: dt.date | None
    ) -> list[sa.ColumnElement[bool]]:
        """Conditions that leave out most of what lies outside the days wanted.

        They are generous by a day on either side, because the column's time zone is the
        mapping's affair, and absent where labels are wanted, which come long after.
        """
        origins = self.mapping.transaction
        origin = origins.get("observed_at") or origins.get("timestamp")
        if origin is None or origin.column is None or origin.epoch or self.mapping.label:
            return []
        column = table.columns[origin.column]
        if not isinstance(column.type, sa.DateTime):
            return []
        one_day, midnight = dt.timedelta(days=1), dt.time(tzinfo=dt.UTC)
        bounds: list[sa.ColumnElement[bool]] = []
        if first is not None:
            bounds.append(column >= dt.datetime.combine(first - one_day, midnight))
        if last is not None:
            bounds.append(column < dt.datetime.combine(last + 2 * one_day, midnight))
        return bounds
