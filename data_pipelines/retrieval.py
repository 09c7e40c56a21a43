"""Hybrid retrieval: exact dense search and BM25, fused and reranked, every filter before the top k.

The dense index and the rows' texts live in memory and follow the knowledge base by its deltas.
It knows nothing of models but `embed` and `score`, and nothing of generation.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from data_pipelines.config import RetrievalConfig
from data_pipelines.filters import Where
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import check_embedder
from data_pipelines.memory_index import ChunkRows, MemoryIndex
from data_pipelines.schema import embedded_text
from rayraft.errors import InputError, NotFoundError
from rayraft.fusion import reciprocal_rank_fusion
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Passage

logger = logging.getLogger(__name__)

Method = Literal["hybrid", "dense", "sparse"]
FloatArray = npt.NDArray[np.float32]


class TextEmbedder(Protocol):
    """What retrieval needs of an embedder."""

    spec: EmbedderSpec

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """float32 [n, dim], L2-normalised."""
        ...


class TextReranker(Protocol):
    """What retrieval needs of a reranker."""

    def score(self, question: str, passages: Sequence[str]) -> FloatArray:
        """float32 [n]: the higher, the better the passage answers."""
        ...


@dataclass
class _Hits:
    dense: dict[str, float]
    sparse: dict[str, float]

    def fused(self, method: Method, config: RetrievalConfig) -> list[tuple[str, float]]:
        """Chunk ids and scores, best first."""
        if method == "dense":
            return list(self.dense.items())
        if method == "sparse":
            return list(self.sparse.items())
        weights = (config.dense_weight, config.sparse_weight)
        return reciprocal_rank_fusion([list(self.dense), list(self.sparse)], weights, config.rrf_k)


class HybridRetriever:
    """Search over one version of a knowledge base; `refresh` moves it to the latest.

    Searches and refreshes may come from several threads. They take turns at the index in memory;
    nobody waits for another's reading from storage.
    """

    def __init__(
        self,
        kb: KnowledgeBase,
        embedder: TextEmbedder,
        config: RetrievalConfig | None = None,
        reranker: TextReranker | None = None,
    ) -> None:
        check_embedder(kb.embedder, embedder.spec, "knowledge base")
        self._embedder = embedder
        self._config = config or RetrievalConfig()
        self._reranker = reranker
        self._refreshing = threading.Lock()
        self._lock = threading.Lock()  # of index and knowledge base: both are of one version
        self._kb = kb.snapshot()
        self._index = MemoryIndex.of(self._kb)

    @property
    def version(self) -> int:
        """The knowledge base version that searches see."""
        return self._kb.version

    def refresh(self) -> int:
        """Applies what was committed since and returns the new version."""
        with self._refreshing:
            latest = self._kb.snapshot()
            if latest.checkout_latest() == self._kb.version:
                return self._kb.version
            try:
                delta = latest.delta(self._kb.version)
            except NotFoundError:
                logger.warning("version %d is gone: the index is built anew", self._kb.version)
                index = MemoryIndex.of(latest)
                with self._lock:
                    self._index, self._kb = index, latest
            else:
                with self._lock:
                    self._index.apply(delta.upserted, delta.removed_chunk_ids)
                    self._kb = latest
            return latest.version

    def search(
        self,
        queries: Sequence[str],
        k: int,
        *,
        where: Where | None = None,
        groups: Sequence[str] = (),
        method: Method = "hybrid",
    ) -> list[list[Passage]]:
        """Passages of each query, best first.

        Args:
            queries: Questions or words, as people write them.
            k: At most so many passages each.
            where: Conditions on metadata, `document_id` or `title`; all must hold. A chunk
                without the field does not match.
            groups: Groups of the person who asks; chunks of other groups are never seen.
            method: Both searches fused (and reranked, if there is a reranker), or one of them.

        Raises:
            InputError: `k`, `where` or `method` is malformed.
        """
        if k < 1:
            raise InputError(f"k={k}: must be at least 1")
        if method not in ("hybrid", "dense", "sparse"):
            raise InputError(f"method={method!r}: expected hybrid, dense or sparse")
        rerank = self._reranker if method == "hybrid" else None
        kept = max(k, self._config.rerank) if rerank else k
        depth = max(kept, self._config.candidates) if method == "hybrid" else k
        vectors = self._embedder.embed(queries) if method != "sparse" else None
        found = [_Hits({}, {}) for _ in queries]
        with self._lock:
            kb, rows = self._kb, self._index.rows
            mask = self._index.allowed(where, groups)
            if vectors is not None:
                for hits, vector in zip(found, vectors, strict=True):
                    hits.dense = dict(self._index.nearest(vector, depth, mask))
        # From here on everything is of the version that the lock was held for: a refresh replaces
        # `_kb` and the index's rows and changes neither.
        if method != "dense":
            row_ids = None if mask is None else rows.row_ids[mask]
            for hits, query in zip(found, queries, strict=True):
                hits.sparse = dict(kb.full_text_search(query, depth, row_ids=row_ids))
        ranked = [_passages(rows, hits, hits.fused(method, self._config)[:kept]) for hits in found]
        if rerank is None:
            return ranked
        return [
            _reranked(rerank, query, passages)[:k]
            for query, passages in zip(queries, ranked, strict=True)
        ]

    def read(self, chunk_ids: Sequence[str]) -> list[Passage]:
        """The chunks with these ids, in their order, whoever may see them.

        Raises:
            KeyError: A chunk is not in this version.
        """
        return [Passage(**row) for row in self._index.rows.read(chunk_ids)]


def _passages(rows: ChunkRows, hits: _Hits, ordered: list[tuple[str, float]]) -> list[Passage]:
    read = rows.read([chunk_id for chunk_id, _ in ordered])
    return [
        Passage(
            **row,
            score=score,
            dense_score=hits.dense.get(chunk_id),
            sparse_score=hits.sparse.get(chunk_id),
        )
        for row, (chunk_id, score) in zip(read, ordered, strict=True)
    ]


def _reranked(reranker: TextReranker, query: str, passages: list[Passage]) -> list[Passage]:
    """By the reranker's scores, best first; equal ones stay in the order they came in."""
    if not passages:
        return passages
    scores = reranker.score(query, [embedded_text(p.title, p.text) for p in passages])
    order = np.argsort(-scores, kind="stable")
    return [passages[i].model_copy(update={"score": float(scores[i])}) for i in order]
