"""The ingest job's first stage on Ray Data: files to documents, or to reasons why not."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray
import ray.data

from data_pipelines.config import IngestConfig
from data_pipelines.ingest import Found
from data_pipelines.quarantine import Rejected
from data_pipelines.readers import read_file
from data_pipelines.sources import SourceFile
from rayraft.records import Document

_FILE_KEYS = 2**32
"""Documents that one file can hold: a document's key is its file's number times this, plus its
own."""

_READ_SCHEMA = pa.schema(
    [
        pa.field("key", pa.int64()),
        pa.field("document_id", pa.string()),
        pa.field("content_hash", pa.string()),
        pa.field("uri", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("document", pa.string()),
    ]
)


def read_documents(files: Sequence[SourceFile], config: IngestConfig) -> ray.data.Dataset:
    """One row per document or per reason why there is none, in `_READ_SCHEMA`."""
    items = [{"number": number, **file._asdict()} for number, file in enumerate(files)]
    tasks = -(-len(items) // config.reading.files_per_task)
    return ray.data.from_items(items, override_num_blocks=tasks).map_batches(
        functools.partial(read_batch, max_file_mb=config.reading.max_file_mb),
        batch_size=config.reading.files_per_task,
        batch_format="pyarrow",
    )


def read_batch(batch: pa.Table, max_file_mb: int) -> Iterator[pa.Table]:
    """The documents of each file of the batch."""
    for item in batch.to_pylist():
        source = SourceFile(item["path"], item["document_id"])
        rows = [
            _read_row(item["number"] * _FILE_KEYS + place, result)
            for place, result in enumerate(read_file(source, max_file_mb))
        ]
        yield pa.Table.from_pylist(rows, schema=_READ_SCHEMA)


def read_summary(documents: ray.data.Dataset) -> tuple[list[Found], list[Rejected]]:
    """What `read_documents` found and what it rejected, without the texts."""
    columns = [name for name in _READ_SCHEMA.names if name != "document"]
    tables = ray.get(documents.select_columns(columns).to_arrow_refs())
    rows = pa.concat_tables([_READ_SCHEMA.empty_table().select(columns), *tables]).to_pylist()
    found = [
        Found(row["key"], row["document_id"], row["content_hash"], row["uri"])
        for row in rows
        if row["reason"] is None
    ]
    rejected = [
        Rejected(uri=row["uri"], document_id=row["document_id"], reason=row["reason"])
        for row in sorted(rows, key=lambda row: int(row["key"]))
        if row["reason"] is not None
    ]
    return found, rejected


def _read_row(key: int, result: Document | Rejected) -> dict[str, Any]:
    row = {"key": key, "document_id": result.document_id, "uri": result.uri}
    if isinstance(result, Rejected):
        return {**row, "reason": result.reason}
    return {
        **row,
        "content_hash": result.content_hash(),
        "document": result.model_dump_json(),
    }
