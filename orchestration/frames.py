"""The training frame on disk: features of every event of a window, and what was known of them."""

import datetime as dt
import json
from dataclasses import asdict, dataclass

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.schema import from_arrow
from fraud.domain.errors import ContractError, NotFound


@dataclass(frozen=True)
class FrameInfo:
    """Where a frame comes from.

    Attributes:
        fraud_type: whose features it holds.
        schema_hash: of the features it was built with.
        first: first day observed.
        last: last day observed.
        cutoff: what was seen or reported at or after this moment is not in it.
    """

    fraud_type: str
    schema_hash: str
    first: dt.date
    last: dt.date
    cutoff: dt.datetime


class FrameStore:
    """One frame, its labels and its origin below an fsspec url; a new one replaces it.

    Args:
        url: where it is.
        schema_hash: of the running code; a frame built with other features is refused. Any
            frame will do if empty.
    """

    def __init__(self, url: str, schema_hash: str = "") -> None:
        self.url = url
        self._schema_hash = schema_hash
        self._fs, self._root = fsspec.core.url_to_fs(url)

    def write(self, frame: pd.DataFrame, labels: pd.DataFrame, info: FrameInfo) -> None:
        """Replace what is there; cut off half-way, it leaves no frame rather than a mixed one."""
        self._fs.makedirs(self._root, exist_ok=True)
        if self._fs.exists(f"{self._root}/info.json"):
            self._fs.rm(f"{self._root}/info.json")
        for name, table in (("frame", frame), ("labels", labels)):
            with self._fs.open(f"{self._root}/{name}.parquet", "wb") as sink:
                arrow = pa.Table.from_pandas(table, preserve_index=False)
                pq.write_table(arrow, sink, compression="lz4", use_dictionary=False)
        with self._fs.open(f"{self._root}/info.json", "w") as sink:
            json.dump(asdict(info), sink, default=str, indent=2)

    def version(self) -> str:
        """A text that changes whenever the frame is replaced.

        Raises:
            NotFound: none was built yet.
        """
        self.info()
        version: str = self._fs.ukey(f"{self._root}/info.json")
        return version

    def info(self) -> FrameInfo:
        """Where the frame comes from.

        Raises:
            NotFound: none was built yet.
            ContractError: it was built with other features than those of the running code.
        """
        try:
            with self._fs.open(f"{self._root}/info.json", "r") as source:
                content = json.load(source)
        except FileNotFoundError:
            raise NotFound(
                "There is no training frame yet.", remedy="Materialise `training_frame` first."
            ) from None
        if self._schema_hash not in ("", content["schema_hash"]):
            raise ContractError(
                f"The training frame has feature schema {content['schema_hash']}, the running "
                f"code {self._schema_hash}.",
                remedy="Materialise `training_frame` again.",
            )
        return FrameInfo(
            fraud_type=content["fraud_type"],
            schema_hash=content["schema_hash"],
            first=dt.date.fromisoformat(content["first"]),
            last=dt.date.fromisoformat(content["last"]),
            cutoff=dt.datetime.fromisoformat(content["cutoff"]),
        )

    def frame(self) -> pd.DataFrame:
        """`transaction_id, seq, event_time, observed_at, amount_minor, ...` and the features."""
        return self._read("frame")

    def labels(self) -> pd.DataFrame:
        """Canonical labels known at the cutoff."""
        return self._read("labels")

    def _read(self, name: str) -> pd.DataFrame:
        self.info()
        with self._fs.open(f"{self._root}/{name}.parquet", "rb") as source:
            return from_arrow(pq.read_table(source))
