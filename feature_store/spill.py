"""What a build sets aside between its steps: files of numbered batches.

A step writes one file with one Arrow record batch per receiver; a receiver takes its own
batch from each file and reads no other. So a shuffle from m to n parts takes m files, on any
fsspec URL. A step that is run again replaces its file by an equal one, so a worker that dies
half-way costs time, and nothing else.
"""

from collections.abc import Iterable
from typing import Any

import fsspec
import pyarrow as pa

from feature_store.writing import replacing

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class Spill:
    """Files of numbered batches below one fsspec URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = fsspec.core.url_to_fs(url)

    def write(self, name: str, schema: Any, batches: Iterable[Any]) -> None:
        """Write the batches of one file, numbered from 0.

        Args:
            name: of the file.
            schema: `pyarrow.Schema` of all batches.
            batches: each a `pyarrow.RecordBatch`; may have no rows.
        """
        with (
            replacing(self._fs, f"{self._root}/{name}.arrow") as sink,
            pa.ipc.new_file(sink, schema, options=_OPTIONS) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch)

    def file_url(self, name: str) -> str:
        """Where a file is."""
        return f"{self.url}/{name}.arrow"

    def read(self, name: str, number: int) -> Any:
        """One batch of a file: `pyarrow.RecordBatch`."""
        with (
            self._fs.open(f"{self._root}/{name}.arrow", "rb") as source,
            pa.ipc.open_file(source) as reader,
        ):
            return reader.get_batch(number)

    def remove(self) -> None:
        """Remove everything below the URL."""
        if self._fs.exists(self._root):
            self._fs.rm(self._root, recursive=True)
