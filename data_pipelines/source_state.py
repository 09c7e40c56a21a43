"""What was read of each file, so that an unchanged file is not read again.

An entry says: this path with this size and time of change gave these documents. It says nothing of
the knowledge base, so no entry can be wrong about it: a lost or stale file costs time alone.
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from data_pipelines.files import size_and_time
from data_pipelines.sources import SourceFile
from data_pipelines.stores import open_filesystem, store_uri, write_file
from rayraft.errors import InputError

FILE = "ingest/sources.parquet"
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was read may change again within the same tick."""

_COLUMNS = ("place", "document_id", "content_hash", "uri", "reason")
_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("stamp", pa.string()),
        pa.field("place", pa.int64()),
        pa.field("document_id", pa.string()),
        pa.field("content_hash", pa.string()),
        pa.field("uri", pa.string()),
        pa.field("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class Stamp:
    """Size and time of change of a file, and the settings it is read with."""

    text: str
    settled: bool
    """Whether a later change would show."""

    @classmethod
    def of(cls, source: SourceFile, settings: str) -> "Stamp | None":
        """The file's stamp now; None where it cannot be looked at."""
        try:
            size, changed_ns = size_and_time(source.path)
        except (OSError, InputError):
            return None
        text = f"{size}:{changed_ns}:{source.document_id}:{settings}"
        return cls(text, changed_ns > 0 and time.time_ns() - changed_ns > _SETTLED_NS)


class SourceState:
    """Entries of all files of a store, by absolute path."""

    def __init__(self, store: str) -> None:
        self._filesystem, root = open_filesystem(store)
        self._path = f"{root}/{FILE}"
        self._entries: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        self._saved: dict[str, tuple[str, list[dict[str, Any]]]] = {}

    def load(self) -> "SourceState":
        """Reads what earlier runs wrote; whatever is not readable counts for nothing."""
        if self._filesystem.get_file_info(self._path).type != pafs.FileType.File:
            return self
        try:
            table = pq.read_table(self._path, filesystem=self._filesystem, schema=_SCHEMA)
        except (pa.ArrowException, OSError):
            return self
        for row in table.to_pylist():
            _, rows = self._entries.setdefault(row["path"], (row["stamp"], []))
            rows.append({name: row[name] for name in _COLUMNS})
        self._saved = dict(self._entries)
        return self

    def rows(self, source: SourceFile, stamp: Stamp | None) -> list[dict[str, Any]] | None:
        """What the file gave when it was as it is now; None if it has to be read."""
        entry = self._entries.get(store_uri(source.path))
        if stamp is None or entry is None or entry[0] != stamp.text:
            return None
        return entry[1]

    def keep(self, source: SourceFile, stamp: Stamp | None, rows: Sequence[dict[str, Any]]) -> None:
        """Notes what a file gave; nothing is noted of one that has just changed."""
        path = store_uri(source.path)
        if stamp is not None and stamp.settled and rows:
            self._entries[path] = (
                stamp.text,
                [{name: row[name] for name in _COLUMNS} for row in rows],
            )
        else:
            self._entries.pop(path, None)

    def forget(self, document_ids: Iterable[str]) -> bool:
        """Drops every file that held one of these documents; whether there was one."""
        gone = set(document_ids)
        before = len(self._entries)
        self._entries = {
            path: (stamp, rows)
            for path, (stamp, rows) in self._entries.items()
            if not any(row["document_id"] in gone for row in rows)
        }
        return len(self._entries) < before

    def save(self) -> None:
        """Writes all entries at once, if any has changed."""
        if self._entries == self._saved:
            return
        columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
        for path, (stamp, rows) in self._entries.items():
            columns["path"] += [path] * len(rows)
            columns["stamp"] += [stamp] * len(rows)
            for name in _COLUMNS:
                columns[name] += [row[name] for row in rows]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns, schema=_SCHEMA), sink)
        self._filesystem.create_dir(os.path.dirname(self._path), recursive=True)
        write_file(self._filesystem, self._path, sink.getvalue().to_pybytes())
