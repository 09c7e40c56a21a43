"""Documents that could not be read: uri, reason and time, as Parquet beside the knowledge base."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from data_pipelines.stores import open_filesystem
from rayraft.records import Record, digest

_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string()),
        pa.field("document_id", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("time", pa.timestamp("us", tz="UTC")),
    ]
)


class Rejected(Record):
    """One source document that could not be read."""

    uri: str
    """The file, with `:line` for a row of a file."""
    document_id: str = ""
    """Its id as far as it is known."""
    reason: str


def write_quarantine(store: str, rejected: Sequence[Rejected]) -> None:
    """Adds the documents to the store's quarantine.

    The file is named by what it holds: a rerun over the same input replaces it.
    """
    if not rejected:
        return
    filesystem, folder = _folder(store)
    filesystem.create_dir(folder, recursive=True)
    rows = [item.model_dump() for item in rejected]
    name = digest(json.dumps(rows, sort_keys=True))[:16]
    now = datetime.now(UTC)
    table = pa.Table.from_pylist([{**row, "time": now} for row in rows], schema=_SCHEMA)
    pq.write_table(table, f"{folder}/{name}.parquet", filesystem=filesystem)


def read_quarantine(store: str) -> pa.Table:
    """All quarantined documents of the store; columns uri, document_id, reason, time."""
    filesystem, folder = _folder(store)
    found = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    files = sorted(info.path for info in found if info.path.endswith(".parquet"))
    tables = [pq.read_table(path, filesystem=filesystem, schema=_SCHEMA) for path in files]
    return pa.concat_tables([_SCHEMA.empty_table(), *tables])


def _folder(store: str) -> tuple[pafs.FileSystem, str]:
    filesystem, root = open_filesystem(store)
    return filesystem, f"{root}/quarantine"
