"""The deployments around the knowledge base, as plain classes: one searches, one writes.

All blocking work is in threads: a blocked event loop would stop health checks and requests alike.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from data_pipelines.champions import Role
from rayraft.answering import Retrieved
from rayraft.errors import ArtifactMismatch
from rayraft.feedback import Feedback
from rayraft.records import Document
from serve.access import check_may_replace, read_document
from serve.config import RetrieverConfig, WriterConfig
from serve.follower import Follower
from serve.generations import Generations, load_embedder
from serve.retriever_base import RetrieverBase
from serve.service import FloatArray, Search
from serve.upkeep import build_if_due, start_upkeep

if TYPE_CHECKING:
    from data_pipelines.retrieval import HybridRetriever
    from rayraft.models.embedder import Embedder


class Retriever(RetrieverBase):
    """Searches the knowledge base and follows its versions, also to another embedder."""

    def __init__(self, config: RetrieverConfig, store: str) -> None:
        from data_pipelines.open_retriever import open_reranker
        from data_pipelines.stores import store_uri

        store = store_uri(store)
        self._reranker = open_reranker(store, config.retrieval, config.threads)
        super().__init__(config, store, self._reranker)
        self._store = store
        self._opened = Generations(self._open, self._build)
        self._follower = Follower(self._opened.refresh, config.poll_s)
        start_upkeep(lambda: self._opened.newest.maintain(), config.upkeep_s, config.threads)

    @property
    def embedder(self) -> "Embedder":
        """The one of the version that searches see."""
        model: Embedder = self._opened.newest.embedder  # type: ignore[assignment]  # `_open` gave it
        return model

    async def search(self, search: Search) -> Retrieved:
        """Passages that the groups may read, in the version asked for or a later one."""
        from data_pipelines.retrieval import check_search

        check_search(search.k, search.method)
        await self._follower.wait_for(search.min_kb_version, self._config.wait_s)
        opened = self._opened.newest  # embedder and index of one generation
        vector = None
        if search.method != "sparse":
            vector = await self._vector(opened.embedder, search.query)  # type: ignore[arg-type]
        found: Retrieved = await self._threads.run(self._search, opened, search, vector)
        return found

    async def version(self) -> int:
        """The version that searches see."""
        return self._follower.version

    async def check_health(self) -> None:
        """Searches once."""
        if not self._follower.is_alive():
            raise RuntimeError("the follower of the knowledge base has ended")
        await self.search(Search("health", 1))

    def _open(self) -> "HybridRetriever":
        from data_pipelines.kb import KnowledgeBase
        from data_pipelines.retrieval import HybridRetriever

        kb = KnowledgeBase.open(self._store)
        embedder = load_embedder(kb, self._config.threads)
        return HybridRetriever(kb, embedder, self._config.retrieval, self._reranker)

    def _build(self, retriever: "HybridRetriever") -> None:
        build_if_due(retriever.maintain, self._config.threads)

    def _search(
        self, retriever: "HybridRetriever", search: Search, vector: FloatArray | None
    ) -> Retrieved:
        # Read first: passages may be newer than the version named, never older.
        version = retriever.version
        (passages,) = retriever.search(
            [search.query],
            search.k,
            where=search.where,
            groups=search.groups,
            method=search.method,  # type: ignore[arg-type]  # checked before
            vectors=None if vector is None else vector[None],
        )
        return Retrieved(passages, version)


class Writer:
    """Changes the knowledge base, one change at a time."""

    def __init__(self, config: WriterConfig, store: str) -> None:
        from data_pipelines.kb import KnowledgeBase

        self._store = store
        self._kb = KnowledgeBase.open(store)
        self._threads = config.threads
        self._embedder = load_embedder(self._kb, config.threads)
        self._lock = asyncio.Lock()

    async def put(self, documents: Sequence[Document], groups: Sequence[str]) -> int:
        """Adds or replaces the documents, all or none; returns the version that holds them."""
        async with self._lock:
            return await asyncio.to_thread(self._put, documents, groups)

    async def delete(self, document_id: str, groups: Sequence[str]) -> int:
        """Removes the document; returns the version without it."""
        async with self._lock:
            return await asyncio.to_thread(self._delete, document_id, groups)

    async def add_feedback(self, feedback: Feedback) -> int:
        """Keeps a person's word on an answer; returns the feedback version that holds it."""
        async with self._lock:
            return await asyncio.to_thread(self._add_feedback, feedback)

    async def version(self) -> int:
        """The latest version."""
        return await asyncio.to_thread(self._kb.snapshot().checkout_latest)

    async def check_health(self) -> None:
        """Reads the latest version from the store."""
        await self.version()

    def _add_feedback(self, feedback: Feedback) -> int:
        from data_pipelines.feedback import add_feedback

        self._kb.checkout_latest()
        for document_id in feedback.document_ids:
            # Nobody teaches from what they may not read.
            read_document(self._kb, document_id, feedback.groups)
        return add_feedback(self._store, [feedback])

    def _put(self, documents: Sequence[Document], groups: Sequence[str]) -> int:
        from data_pipelines.ingest import ingest_documents

        self._kb.checkout_latest()
        stored = self._acls([document.document_id for document in documents])
        for document in documents:
            acl = stored.get(document.document_id)
            check_may_replace(acl, document.document_id, groups)
        try:
            return ingest_documents(documents, self._kb, self._embedder)
        except ArtifactMismatch:
            # Re-embedded since; nothing was written. Once more with the store's embedder of now.
            self._kb.checkout_latest()
            self._embedder = load_embedder(self._kb, self._threads)
            return ingest_documents(documents, self._kb, self._embedder)

    def _acls(self, document_ids: Sequence[str]) -> dict[str, list[str]]:
        """Of the stored ones among these documents; the first chunk says it for all."""
        from data_pipelines.kb_table import sql_text

        listed = ", ".join(map(sql_text, document_ids))
        first = f"document_id IN ({listed}) AND position = 0"
        rows = self._kb.read_chunks(["document_id", "acl"], where=first).to_pylist()
        return {row["document_id"]: row["acl"] for row in rows}

    async def promote(self, adapter_id: str, note: str) -> list[str]:
        """Makes the adapter the champion of its roles, which it returns."""
        from data_pipelines.champions import promote

        async with self._lock:
            return [*await asyncio.to_thread(promote, self._store, adapter_id, note)]

    async def rollback(self, role: Role, tenant: str | None) -> str | None:
        """Takes the last promotion of the tenant back; returns who is the champion now."""
        from data_pipelines.champions import rollback

        async with self._lock:
            return await asyncio.to_thread(rollback, self._store, role, tenant)

    def _delete(self, document_id: str, groups: Sequence[str]) -> int:
        from data_pipelines.ingest import delete_document

        self._kb.checkout_latest()
        read_document(self._kb, document_id, groups)
        return delete_document(document_id, self._kb)
