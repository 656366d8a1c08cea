"""Parquet files of pictures, written by the executors themselves.

Through Spark's own writer each picture would be copied to Java and from row to row first, which
takes as long as looking at it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_BYTES = 32_000_000
PICTURE_COLUMN = "image"


class PictureFile:
    """One Parquet file; rows are kept until a row group is worth it.

    Args:
        stream: to write to.
        schema: of the rows.
    """

    def __init__(self, stream: Any, schema: pa.Schema) -> None:  # noqa: ANN401 - fsspec has no types
        names = [name for name in schema.names if name != PICTURE_COLUMN]
        # JPEG and PNG were packed by those who know how, and no two pictures are the same.
        packing = dict.fromkeys(names, "zstd") | {PICTURE_COLUMN: "none"}
        self._schema = schema
        self._writer = pq.ParquetWriter(
            stream,
            schema,
            compression=packing,
            use_dictionary=["part_id", "source"],
            write_statistics=names,
        )
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what waits, and the footer."""
        try:
            if error is None:
                self._flush()
        finally:
            self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._waiting_bytes = [], 0


@contextmanager
def picture_file(path: str, schema: pa.Schema) -> Iterator[PictureFile]:
    """A file at a path or URL that is there whole or not at all, whoever else writes it too.

    Spark may run a task again, or twice at once; the same rows go to the same name.
    """
    if "://" in path:
        # Object stores show a file when it is closed.
        with fsspec.open(path, "wb") as stream, PictureFile(stream, schema) as made:
            yield made
        return
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}.{uuid4().hex}")
    try:
        with partial.open("wb") as stream, PictureFile(stream, schema) as made:
            yield made
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)
