"""The knowledge base: one Lance table of chunks, where every change is one atomic version.

It knows nothing of documents' formats, of chunking and of models; it stores what it is given.
"""

import random
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import lance
import pyarrow as pa

from data_pipelines.kb_delta import Delta, table_delta
from data_pipelines.kb_table import (
    SEARCH_COLUMN,
    begin_search_index,
    bm25,
    check_embedder,
    create_table,
    index_named,
    kb_uri,
    merge_rows,
    open_table,
    read_rows,
    rows_of,
    sql_text,
    stored_rows,
    unindexed_rows,
    update_index,
)
from data_pipelines.kb_text_search import RowHits, bm25_rows
from data_pipelines.schema import DOCUMENT_COLUMNS, chunk_schema, document_from_rows, embedder_of
from rayraft.errors import ConcurrentWrite, InputError, NotFoundError
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Document, Passage

COMMIT_ATTEMPTS = 8


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
            InputError: The store cannot be opened.
        """
        return cls(open_table(store, version), kb_uri(store))

    @classmethod
    def create_or_open(cls, store: str, embedder_spec: EmbedderSpec) -> "KnowledgeBase":
        """The knowledge base of `store`, created empty if there is none.

        Raises:
            ArtifactMismatch: It was made with another embedder.
            InputError: The store can be neither opened nor made.
        """
        try:
            kb = cls.open(store)
        except NotFoundError:
            create_table(store, embedder_spec)
            kb = cls.open(store)
        check_embedder(kb.embedder, embedder_spec, store)
        if not index_named(kb._dataset, SEARCH_COLUMN):  # new, or its creator was killed half-way
            begin_search_index(kb.writer())
            kb.checkout_latest()
        return kb

    @property
    def version(self) -> int:
        """The version that reads see."""
        return int(self._dataset.version)

    @property
    def store(self) -> str:
        """The store it belongs to."""
        return self._uri.removesuffix("/kb")

    def snapshot(self) -> "KnowledgeBase":
        """This version, unmoved by later commits and checkouts of the original."""
        return KnowledgeBase(self._dataset, self._uri)

    def checkout_latest(self) -> int:
        """Moves to the latest version and returns it."""
        if self._dataset.latest_version != self._dataset.version:
            self._dataset = self._open(None)
            self.embedder = embedder_of(self._dataset.schema, self._uri)
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
            ArtifactMismatch: The store has been embedded with another embedder meanwhile.
        """
        made_with = self.embedder
        touched = {*chunks["document_id"].unique().to_pylist(), *removed_document_ids}
        rows = stored_rows(chunks, self.embedder)
        for attempt in range(COMMIT_ATTEMPTS):
            self.checkout_latest()
            check_embedder(self.embedder, made_with, self._uri)
            existing = self.document_hashes(touched).keys()
            if not rows.num_rows and not existing:
                return self.version
            if merge_rows(self.writer(), rows, existing):
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
            update_index(self.writer())
        return self.checkout_latest()

    def unindexed_chunks(self) -> int:
        """Chunks that full-text search still reads one by one."""
        return unindexed_rows(self._dataset, SEARCH_COLUMN)

    def count_chunks(self) -> int:
        """Number of chunks."""
        return int(self._dataset.count_rows())

    def document_hashes(self, document_ids: Collection[str] | None = None) -> dict[str, str]:
        """`document_hash` by document id: of every document, or of those given that exist."""
        names = ["document_id", "document_hash"]
        if document_ids is None:
            rows = read_rows(self._dataset, names, "position = 0")
        else:
            rows = rows_of(self._dataset, names, document_ids, "position = 0")
        return dict(zip(*(rows[name].to_pylist() for name in names), strict=True))

    def any_document_hash(self) -> str | None:
        """The `document_hash` of one document; None if there is none."""
        table = self._dataset.to_table(columns=["document_hash"], limit=1)
        return str(table["document_hash"][0].as_py()) if table.num_rows else None

    def read_chunks_of(self, document_ids: Collection[str]) -> pa.Table:
        """All chunks of these documents, in `chunk_schema`."""
        return rows_of(self._dataset, chunk_schema(self.embedder.dim).names, document_ids)

    def stored_vectors(self, document_ids: Collection[str]) -> pa.Table:
        """Columns `search_text` (what was embedded) and `embedding` of all chunks of documents."""
        return rows_of(self._dataset, ["document_id", SEARCH_COLUMN, "embedding"], document_ids)

    def document(self, document_id: str) -> Document:
        """The document, rebuilt exactly.

        Raises:
            NotFoundError: There is no such document in this version.
        """
        rows = self.read_chunks(DOCUMENT_COLUMNS, f"document_id = {sql_text(document_id)}")
        if not rows.num_rows:
            raise NotFoundError(f"no document {document_id!r} in version {self.version}")
        return document_from_rows(rows.to_pylist())

    def read_chunks(
        self, columns: Sequence[str] | None = None, where: str | None = None
    ) -> pa.Table:
        """Chunks of this version.

        Args:
            columns: Any of `chunk_schema`, `ROW_ID` or `UPDATED_IN`; None reads the whole schema.
            where: SQL condition over the columns; quote values with `sql_text`.
        """
        names = list(columns) if columns is not None else chunk_schema(self.embedder.dim).names
        return read_rows(self._dataset, names, where)

    def passages_by_document(
        self, document_ids: Collection[str] | None = None
    ) -> dict[str, list[Passage]]:
        """Document id -> its chunks as they are shown, whoever may see them; None for all."""
        by_document: dict[str, list[Passage]] = {}
        for row in self.read_chunks(["chunk_id", "document_id", "title", "text"]).to_pylist():
            if document_ids is None or row["document_id"] in document_ids:
                by_document.setdefault(row["document_id"], []).append(Passage(**row))
        return by_document

    def delta(self, since: int) -> Delta:
        """Adds, updates and deletes after version `since` up to this one.

        Raises:
            InputError: `since` is newer than this version.
            NotFoundError: `since` does not exist (any longer).
        """
        if since > self.version:
            raise InputError(f"delta since={since}: this is version {self.version}")
        names = chunk_schema(self.embedder.dim).names
        return table_delta(self.at(since)._dataset, self._dataset, names)

    def full_text_search(
        self, query: str, k: int, where: str | None = None
    ) -> list[tuple[str, float]]:
        """Chunk ids and BM25 scores over title and text, best first.

        Args:
            query: Plain words; nothing in it is query syntax.
            k: At most so many.
            where: SQL condition, applied before the top k are taken.
        """
        return bm25(self._dataset, query, k, where) if self.count_chunks() else []

    def full_text_rows(self, query: str, k: int, rows: bytes | None) -> RowHits:
        """Row ids and BM25 scores, best first, among `serialized_rows` (None: all)."""
        return bm25_rows(self._dataset, query, k, rows) if self.count_chunks() else []

    def table(self) -> Any:
        """The Lance table at this version, to be read; for the modules `kb_*`."""
        return self._dataset

    def writer(self) -> Any:
        """A handle of this version to commit with."""
        # Lance moves the handle that writes to the new version; ours is shared by snapshots.
        return self._open(self.version)

    def _open(self, version: int | None) -> Any:
        # The session keeps index and metadata caches warm from version to version.
        return lance.dataset(self._uri, version=version, session=self._dataset.session())

    def at(self, version: int) -> "KnowledgeBase":
        """Another version of the same table; NotFoundError if it does not exist (any longer)."""
        try:
            return KnowledgeBase(self._open(version), self._uri)
        except ValueError as exc:
            raise NotFoundError(f"{self._uri}: no version {version}") from exc
