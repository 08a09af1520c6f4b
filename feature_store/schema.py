"""Columns of the event log, and how they look in Arrow and in pandas."""

from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from fraud.domain.errors import ContractError
from fraud.domain.event import field_kinds
from fraud.domain.fraud_type import FraudType

_TIME = pa.timestamp("us", tz="UTC")
_KIND_TYPES = {"text": pa.string(), "number": pa.float64(), "flag": pa.bool_()}
PANDAS_TYPES = {pa.string(): pd.StringDtype("pyarrow"), pa.bool_(): pd.BooleanDtype()}
"""What Arrow types of a stream become in a frame, where that is not what pandas makes of them."""

REQUIRED = {
    "transaction_id", "seq", "event_time", "observed_at", "amount_minor",
    "is_fraud", "reported_at", "source",
}  # fmt: skip
"""Columns that are never null."""


def arrow_schema(fraud_type: FraudType, stream: Literal["events", "labels"]) -> Any:
    """The Arrow schema of a stream: `pyarrow.Schema`."""
    if stream == "labels":
        columns = [
            ("transaction_id", pa.string()),
            ("is_fraud", pa.bool_()),
            ("reported_at", _TIME),
            ("source", pa.string()),
            ("seq", pa.int64()),
        ]
    else:
        columns = [
            ("transaction_id", pa.string()),
            ("seq", pa.int64()),
            ("event_time", _TIME),
            ("observed_at", _TIME),
            ("amount_minor", pa.int64()),
            *(
                (name, _KIND_TYPES[kind])
                for name, kind in field_kinds(fraud_type.transaction).items()
            ),
        ]
    return pa.schema([pa.field(name, kind, name not in REQUIRED) for name, kind in columns])


def to_arrow(
    fraud_type: FraudType, stream: Literal["events", "labels"], frame: pd.DataFrame
) -> Any:
    """A frame as a table of the stream's schema, its columns in order.

    Raises:
        ContractError: a column is missing, of another type, or null where it must not be.
    """
    schema = arrow_schema(fraud_type, stream)
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise ContractError(
            f"{fraud_type.name} {stream}: the frame lacks {', '.join(missing)}.",
            remedy=f"Its columns must be {', '.join(schema.names)}.",
        )
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        raise ContractError(
            f"{fraud_type.name} {stream}: {error}", remedy=f"The columns are {schema}."
        ) from error
    return table.replace_schema_metadata(None)


def from_arrow(table: Any) -> pd.DataFrame:
    """A table as a frame: text as `string`, flags as `boolean`, times as `datetime64[us, UTC]`."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=PANDAS_TYPES.get)
    return frame


def empty_frame(fraud_type: FraudType, stream: Literal["events", "labels"]) -> pd.DataFrame:
    """A frame of the stream with no rows."""
    return from_arrow(arrow_schema(fraud_type, stream).empty_table())


def text_array(texts: pd.Series) -> pa.StringArray:
    """A text column as one Arrow array."""
    array = pa.array(texts.astype("string[pyarrow]"), pa.string(), from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
