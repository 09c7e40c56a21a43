"""Vectors that an unfinished ingest has made, on storage: the next run does not make them again.

They lie below the embedder's digest and are found by the text they were made of, so what has
changed meanwhile cannot make them wrong.
"""

import time
import uuid
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from data_pipelines.known_vectors import KEY_BYTES, FloatArray, KnownVectors
from data_pipelines.schema import vector_array, vector_matrix
from data_pipelines.stores import exists, open_filesystem, write_file
from rayraft.models.spec import EmbedderSpec

FOLDER = "ingest/.embedded"
FLUSH_S = 3.0
"""A killed run loses at most the embedding of so many seconds and of the batches under way."""


class StagedVectors:
    """Writes each vector once, in files that never change; `clear` ends it after the commit."""

    def __init__(self, store: str, spec: EmbedderSpec) -> None:
        self._filesystem, root = open_filesystem(store)
        self._folder = f"{root}/{FOLDER}/{spec.digest[:16]}"
        self._dim = spec.dim
        self._pending: list[tuple[Sequence[bytes], FloatArray]] = []
        self._flushed_at = time.monotonic()
        self._files: list[str] = []

    def load(self, known: KnownVectors) -> int:
        """Adds what earlier runs left to `known`; returns how many vectors that were."""
        found = 0
        selector = pafs.FileSelector(self._folder, allow_not_found=True)
        for info in self._filesystem.get_file_info(selector):
            if not info.path.endswith(".parquet"):
                continue
            try:
                table = pq.read_table(info.path, filesystem=self._filesystem)
            except (pa.ArrowException, OSError):
                continue  # cut off when its writer was killed, or cleared by another run
            known.add(table["key"].to_pylist(), vector_matrix(table["embedding"]))
            found += table.num_rows
            self._files.append(info.path)
        return found

    def add(self, keys: Sequence[bytes], vectors: FloatArray) -> None:
        """Keeps vectors; they are on storage soon."""
        self._pending.append((keys, vectors))
        if time.monotonic() - self._flushed_at > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Puts all vectors on storage."""
        if self._pending:
            keys = [key for part, _ in self._pending for key in part]
            vectors = np.concatenate([part for _, part in self._pending])
            columns = [pa.array(keys, pa.binary(KEY_BYTES)), vector_array(vectors)]
            sink = pa.BufferOutputStream()
            pq.write_table(pa.table(columns, ["key", "embedding"]), sink, compression="none")
            self._filesystem.create_dir(self._folder, recursive=True)
            path = f"{self._folder}/{uuid.uuid4().hex}.parquet"
            write_file(self._filesystem, path, sink.getvalue().to_pybytes())
            self._files.append(path)
        self._pending = []
        self._flushed_at = time.monotonic()

    def clear(self) -> None:
        """Deletes what this run has read and written: it is committed.

        What another run writes meanwhile stays.
        """
        self._pending = []
        for path in self._files:
            if exists(self._filesystem, path):
                self._filesystem.delete_file(path)
        self._files = []
