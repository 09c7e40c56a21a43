"""What unfinished work has written so far, so that the next run goes on from there.

Rows are kept below a key of all that decides them: with a changed argument nothing old is found.
Made for the outcomes of a RAFT run's chunks; knows nothing of what a row holds.
"""

import json
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

import pyarrow.fs as pafs

from data_pipelines.stores import exists, open_filesystem, write_file

FOLDER = "raft/.unfinished"
FLUSH_ROWS = 64
FLUSH_S = 5.0
"""A killed run loses at most so many rows and, if nothing else is said, seconds of work."""


class Staging:
    """Rows with an id, in files that are written once. Safe for threads."""

    def __init__(
        self,
        store: str,
        key: str,
        folder: str = FOLDER,
        id_name: str = "chunk_id",
        flush_s: float = FLUSH_S,
    ) -> None:
        """Args: root, key of all that decides the rows, where, a row's id, time between files."""
        self._filesystem, root = open_filesystem(store)
        self._folder = f"{root}/{folder}/{key}"
        self._id_name = id_name
        self._flush_s = flush_s
        self._pending: list[Mapping[str, Any]] = []
        self._flushed_at = time.monotonic()
        self._lock = threading.Lock()

    def rows(self) -> dict[str, dict[str, Any]]:
        """Id -> its row; a file that is not whole counts for nothing."""
        found: dict[str, dict[str, Any]] = {}
        selector = pafs.FileSelector(self._folder, allow_not_found=True)
        for info in self._filesystem.get_file_info(selector):
            if not info.path.endswith(".jsonl"):
                continue
            with self._filesystem.open_input_stream(info.path) as stream:
                lines = bytes(stream.read()).decode().splitlines()
            if lines and lines[-1] == _END:
                found |= {row[self._id_name]: row for row in map(json.loads, lines[:-1])}
        return found

    def add(self, row: Mapping[str, Any]) -> None:
        """Keeps a row; it is on storage soon."""
        with self._lock:
            self._pending.append(row)
            late = time.monotonic() - self._flushed_at > self._flush_s
            if late or len(self._pending) >= FLUSH_ROWS:
                self._put()

    def flush(self) -> None:
        """Puts all rows on storage."""
        with self._lock:
            self._put()

    def _put(self) -> None:
        if self._pending:
            self._filesystem.create_dir(self._folder, recursive=True)
            lines = [*(json.dumps(row) for row in self._pending), _END, ""]
            path = f"{self._folder}/{uuid.uuid4().hex}.jsonl"
            write_file(self._filesystem, path, "\n".join(lines).encode())
        self._pending = []
        self._flushed_at = time.monotonic()

    def clear(self) -> None:
        """Forgets everything: the run is published."""
        self._pending = []
        if exists(self._filesystem, self._folder):
            self._filesystem.delete_dir(self._folder)


_END = '"end"'
"""Last line of a whole file; buckets may show one that is cut off."""
