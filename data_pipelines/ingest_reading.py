"""The ingest job's first stage: files to documents, or to reasons why not, as rows of one table.

Knows nothing of Ray: `ingest_ray.py` does the same work on a cluster.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.config import ReadingConfig
from data_pipelines.ingest import Found
from data_pipelines.quarantine import Rejected
from data_pipelines.readers import read_file
from data_pipelines.sources import SourceFile
from rayraft.records import Document

FILE_KEYS = 2**32
"""Documents that one file can hold: a document's key is its file's number times this, plus its
own."""

READ_SCHEMA = pa.schema(
    [
        pa.field("key", pa.int64()),
        pa.field("document_id", pa.string()),
        pa.field("content_hash", pa.string()),
        pa.field("uri", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("document", pa.string()),
    ]
)
SUMMARY = [name for name in READ_SCHEMA.names if name != "document"]


def read_numbered(files: Iterable[tuple[int, SourceFile]], config: ReadingConfig) -> pa.Table:
    """The documents of numbered files, in `READ_SCHEMA`."""
    return pa.concat_tables(
        [READ_SCHEMA.empty_table(), *read_tables(files, config)]
    ).combine_chunks()


def read_tables(
    files: Iterable[tuple[int, SourceFile]], config: ReadingConfig
) -> Iterator[pa.Table]:
    """The documents of each file: one table a file."""
    for number, source in files:
        rows = [
            read_row(number * FILE_KEYS + place, result)
            for place, result in enumerate(read_file(source, config))
        ]
        yield pa.Table.from_pylist(rows, schema=READ_SCHEMA)


def summarise(rows: Sequence[dict[str, Any]]) -> tuple[list[Found], list[Rejected]]:
    """Documents and reasons in rows with the columns `SUMMARY`, in the order of the input."""
    ordered = sorted(rows, key=lambda row: int(row["key"]))
    found = [
        Found(row["key"], row["document_id"], row["content_hash"], row["uri"])
        for row in ordered
        if row["reason"] is None
    ]
    rejected = [
        Rejected(uri=row["uri"], document_id=row["document_id"], reason=row["reason"])
        for row in ordered
        if row["reason"] is not None
    ]
    return found, rejected


def keep_keys(batch: pa.Table, keys: pa.Array) -> pa.Table:
    """The rows of the batch with these keys."""
    return batch.filter(pc.is_in(batch["key"], value_set=keys))


def read_row(key: int, result: Document | Rejected) -> dict[str, Any]:
    """A row in `READ_SCHEMA`."""
    row = {"key": key, "document_id": result.document_id, "uri": result.uri}
    if isinstance(result, Rejected):
        return {**row, "reason": result.reason}
    return {
        **row,
        "content_hash": result.content_hash(),
        "document": result.model_dump_json(),
    }
