"""The knowledge base: one Lance table of chunks, where every change is one atomic version.

It knows nothing of documents' formats, of chunking and of models; it stores what it is given.
"""

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_pipelines.kb_table import (
    ROW_ID,
    SEARCH_COLUMN,
    UPDATED_IN,
    bm25,
    check_embedder,
    create_table,
    kb_uri,
    merge_rows,
    rows_condition,
    sql_text,
    stored_rows,
    update_index,
)
from data_pipelines.schema import chunk_schema, document_from_rows, embedder_of
from rayraft.errors import ConcurrentWrite, InputError, NotFoundError
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Document

COMMIT_ATTEMPTS = 8


@dataclass(frozen=True)
class Delta:
    """What changed after an older version; apply removals and upserts by `chunk_id`."""

    version: int
    """The version that the delta leads to."""
    upserted: pa.Table
    """Chunks added or replaced, with their embeddings and Lance row ids (`_rowid`)."""
    removed_chunk_ids: list[str]
    """Chunks that exist no longer."""


class KnowledgeBase:
    """A version of the store's chunk table; readers are safe in several threads.

    A Lance handle must not cross a fork: open the knowledge base inside the Ray task or actor.
    """

    def __init__(self, dataset: Any, uri: str) -> None:
        self._dataset = dataset  # replaced, never changed in place: snapshots share it
        self._uri = uri
        self.embedder = embedder_of(dataset.schema, uri)

    @classmethod
    def open(cls, store: str, version: int | None = None) -> "KnowledgeBase":
        """The knowledge base of `store`, at its latest version or an older one.

        Raises:
            NotFoundError: There is none, or not this version of it.
        """
        uri = kb_uri(store)
        try:
            return cls(lance.dataset(uri, version=version), uri)
        except ValueError as exc:
            if "not found" not in str(exc):
                raise
            if version is None:
                raise NotFoundError(f"no knowledge base in {store}; run ingest first") from exc
            raise NotFoundError(f"{store}: no knowledge base version {version}") from exc

    @classmethod
    def create_or_open(cls, store: str, embedder_spec: EmbedderSpec) -> "KnowledgeBase":
        """The knowledge base of `store`, created empty if there is none.

        Raises:
            ArtifactMismatch: It was made with another embedder.
        """
        try:
            kb = cls.open(store)
        except NotFoundError:
            create_table(kb_uri(store), embedder_spec)
            kb = cls.open(store)
        check_embedder(kb.embedder, embedder_spec, store)
        if not kb._dataset.describe_indices():  # new, or its creator was killed half-way
            kb._writer().create_scalar_index(SEARCH_COLUMN, "INVERTED", with_position=False)
            kb.checkout_latest()
        return kb

    @property
    def version(self) -> int:
        """The version that reads see."""
        return int(self._dataset.version)

    def snapshot(self) -> "KnowledgeBase":
        """This version, unmoved by later commits and checkouts of the original."""
        return KnowledgeBase(self._dataset, self._uri)

    def checkout_latest(self) -> int:
        """Moves to the latest version and returns it."""
        if self._dataset.latest_version != self._dataset.version:
            self._dataset = self._open(None)
        return self.version

    def commit(self, chunks: pa.Table, removed_document_ids: Iterable[str] = ()) -> int:
        """Replaces all chunks of the documents in `chunks` and removes others, in one version.

        Args:
            chunks: Rows in `chunk_schema`; every document with all of its chunks.
            removed_document_ids: Documents to remove; unknown ones are ignored.

        Returns:
            The version that holds the change; the current one if there was nothing to do.

        Raises:
            ConcurrentWrite: Other writers kept committing first.
        """
        touched = {*chunks["document_id"].unique().to_pylist(), *removed_document_ids}
        rows = stored_rows(chunks, self.embedder)
        for attempt in range(COMMIT_ATTEMPTS):
            self.checkout_latest()
            existing = touched & self.document_hashes().keys()
            if not rows.num_rows and not existing:
                return self.version
            if merge_rows(self._writer(), rows, existing):
                return self.checkout_latest()
            time.sleep(random.uniform(0, 0.05 * 2**attempt))
        raise ConcurrentWrite(
            f"{self._uri}: other writers committed first, {COMMIT_ATTEMPTS} times; try again"
        )

    def optimize(self) -> int:
        """Brings the full-text index up to the data; a version of its own when there was a lag.

        Not needed for right results: rows outside the index are searched one by one.
        """
        if self.unindexed_chunks():
            update_index(self._writer())
        return self.checkout_latest()

    def unindexed_chunks(self) -> int:
        """Chunks that full-text search still reads one by one."""
        indices = self._dataset.describe_indices()
        if not indices:
            return self.count_chunks()
        statistics = self._dataset.stats.index_stats(indices[0].name)
        return int(statistics["num_unindexed_rows"])

    def count_chunks(self) -> int:
        """Number of chunks."""
        return int(self._dataset.count_rows())

    def document_hashes(self) -> dict[str, str]:
        """Content hash of every document by its id."""
        rows = self._read(["document_id", "document_hash"], where="position = 0")
        ids, hashes = rows["document_id"].to_pylist(), rows["document_hash"].to_pylist()
        return dict(zip(ids, hashes, strict=True))

    def document(self, document_id: str) -> Document:
        """The document, rebuilt exactly.

        Raises:
            NotFoundError: There is no such document in this version.
        """
        rows = self.read_chunks(where=f"document_id = {sql_text(document_id)}")
        if not rows.num_rows:
            raise NotFoundError(f"no document {document_id!r} in version {self.version}")
        return document_from_rows(rows.drop_columns(["embedding"]).to_pylist())

    def read_chunks(
        self, columns: Sequence[str] | None = None, where: str | None = None
    ) -> pa.Table:
        """Chunks of this version.

        Args:
            columns: Any of `chunk_schema`, `ROW_ID` or `UPDATED_IN`; None reads the whole schema.
            where: SQL condition over the columns; quote values with `sql_text`.
        """
        names = list(columns) if columns is not None else chunk_schema(self.embedder.dim).names
        return self._read(names, where)

    def delta(self, since: int) -> Delta:
        """Adds, updates and deletes after version `since` up to this one.

        Raises:
            InputError: `since` is newer than this version.
            NotFoundError: `since` does not exist (any longer).
        """
        if since > self.version:
            raise InputError(f"delta since={since}: this is version {self.version}")
        older = self._at(since)
        removed = np.setdiff1d(older._row_ids(), self._row_ids(), assume_unique=True)
        names = [*chunk_schema(self.embedder.dim).names, UPDATED_IN, ROW_ID]
        upserted = self._read(names, f"{UPDATED_IN} > {since}")
        gone = older._read(["chunk_id"], rows_condition(removed))["chunk_id"].to_pylist()
        # A document that was removed and came back has new rows under its old chunk ids.
        still_there = set(upserted["chunk_id"].to_pylist())
        return Delta(self.version, upserted, sorted(set(gone) - still_there))

    def full_text_search(
        self,
        query: str,
        k: int,
        where: str | None = None,
        row_ids: npt.NDArray[np.int64] | None = None,
    ) -> list[tuple[str, float]]:
        """Chunk ids and BM25 scores over title and text, best first.

        Args:
            query: Plain words; nothing in it is query syntax.
            k: At most so many.
            where: SQL condition, applied before the top k are taken.
            row_ids: Only these rows, restricted before the top k are taken; scores stay those of
                the whole table.
        """
        if not self.count_chunks():  # there may be no index yet
            return []
        allowed = None if row_ids is None else row_ids.tolist()
        return bm25(self._dataset, query, k, where, allowed)

    def _read(self, columns: list[str], where: str | None = None) -> pa.Table:
        names = [name for name in columns if name != ROW_ID]
        with_row_id = len(names) < len(columns)
        return self._dataset.to_table(columns=names, filter=where, with_row_id=with_row_id)

    def _writer(self) -> Any:
        # Lance moves the handle that writes to the new version; ours is shared by snapshots.
        return self._open(self.version)

    def _open(self, version: int | None) -> Any:
        # The session keeps index and metadata caches warm from version to version.
        return lance.dataset(self._uri, version=version, session=self._dataset.session())

    def _at(self, version: int) -> "KnowledgeBase":
        try:
            return KnowledgeBase(self._open(version), self._uri)
        except ValueError as exc:
            raise NotFoundError(f"{self._uri}: no version {version}") from exc

    def _row_ids(self) -> npt.NDArray[np.int64]:
        # int64 [n_chunks]; Lance keeps a row's id over versions while the row exists.
        table = self._dataset.to_table(columns=[], with_row_id=True)
        ids: npt.NDArray[np.int64] = table[ROW_ID].to_numpy().astype(np.int64)
        return ids
