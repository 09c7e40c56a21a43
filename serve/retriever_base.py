"""What a retriever does beside searching, for one index and for shards: embed, score, read."""

import abc
import asyncio
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rayraft.records import Document
from serve.access import read_document
from serve.batching import Batcher
from serve.config import RetrieverConfig
from serve.service import FloatArray

if TYPE_CHECKING:
    from rayraft.models.embedder import Embedder
    from rayraft.models.reranker import Reranker


QUERIES_TOGETHER = 16
"""Queries of one forward pass: for a few words, reading the weights is what takes the time."""


class RetrieverBase(abc.ABC):
    """The models and the reader beside an index; blocking work is in threads."""

    def __init__(
        self, config: RetrieverConfig, store: str, reranker: "Reranker | None" = None
    ) -> None:
        """A `reranker` that is loaded already scores clients' texts, too."""
        self._config = config
        self._documents = DocumentReader(store)
        self._own_reranker = OwnReranker(store, config.retrieval.reranker, config.threads, reranker)
        self._threads = SearchThreads(config.threads)
        self._queries: Batcher[Embedder, str, FloatArray] = Batcher(
            self._embed_queries, QUERIES_TOGETHER, config.threads
        )

    @property
    @abc.abstractmethod
    def embedder(self) -> "Embedder":
        """The one of the version that searches see."""

    async def embed(self, texts: list[str]) -> tuple[FloatArray, int]:
        """float32 [n, dim], L2-normalised, and the tokens read."""
        embedder = self.embedder
        vectors = await self._threads.run(embedder.embed, texts)
        counts = await self._threads.run(embedder.count_tokens, texts)
        return vectors, int(counts.sum())

    async def _vector(self, embedder: "Embedder", query: str) -> FloatArray:
        """float32 [dim]; queries that come while others are worked on share a forward pass."""
        return await self._queries.submit(embedder, query)

    async def _embed_queries(self, embedder: "Embedder", queries: list[str]) -> list[FloatArray]:
        return [*await self._threads.run(embedder.embed, queries)]

    async def rerank(self, query: str, texts: list[str]) -> tuple[list[float], int]:
        """How well each text answers the query, from 0 to 1, and the tokens read."""
        scores = await self._threads.run(self._own_reranker.score, query, texts)
        counts = await self._threads.run(self.embedder.count_tokens, [query, *texts])
        return scores, int(counts.sum())

    async def document(self, document_id: str, groups: Sequence[str]) -> tuple[Document, int]:
        """The document in the latest version, and that version."""
        return await asyncio.to_thread(self._documents.read, document_id, groups)


class OwnReranker:
    """Scores texts that a client sends; loaded when the first one does, as most never do."""

    def __init__(
        self, store: str, name: str, threads: int, model: "Reranker | None" = None
    ) -> None:
        self._store = store
        self._name = name
        self._n_threads = threads
        self._model = model
        self._loading = threading.Lock()

    def score(self, query: str, texts: list[str]) -> list[float]:
        """From 0 to 1, the higher the better the text answers."""
        from data_pipelines.open_retriever import load_reranker

        with self._loading:
            if self._model is None:
                self._model = load_reranker(self._store, self._name, self._n_threads)
        logits = self._model.score(query, texts).astype(float)
        return [1 / (1 + math.exp(-logit)) for logit in logits]


class SearchThreads:
    """The threads that searches run in."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="search")

    async def run(self, function: Any, *args: Any) -> Any:
        """What the function returns; the event loop goes on meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


class DocumentReader:
    """Reads whole documents from the latest version of a store."""

    def __init__(self, store: str) -> None:
        self._store = store

    def read(self, document_id: str, groups: Sequence[str]) -> tuple[Document, int]:
        """The document and the version, if one of the groups may read it."""
        from data_pipelines.kb import KnowledgeBase

        kb = KnowledgeBase.open(self._store)
        return read_document(kb, document_id, groups), kb.version
