"""Hybrid retrieval: dense search and BM25, fused and reranked, every filter before the top k.

The index follows the knowledge base by its deltas; `maintain` builds what they have outgrown.
It knows nothing of models but `embed` and `score`, and nothing of generation.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from data_pipelines.candidate_search import SearchView
from data_pipelines.config import RetrievalConfig
from data_pipelines.filters import Where
from data_pipelines.index_keeper import IndexKeeper
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import check_embedder
from data_pipelines.neighbours import neighbours_of
from data_pipelines.ranking import Candidates, Method, Ranking, TextReranker, with_neighbours
from data_pipelines.sharding import ALL, Shard
from data_pipelines.vectors import FloatArray
from rayraft.errors import InputError, NotFoundError
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Passage

__all__ = ["HybridRetriever", "Method", "TextEmbedder", "TextReranker"]

logger = logging.getLogger(__name__)


class TextEmbedder(Protocol):
    """What retrieval needs of an embedder."""

    spec: EmbedderSpec

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """float32 [n, dim], L2-normalised."""
        ...


class HybridRetriever:
    """Search over one version of a knowledge base; `refresh` moves it to the latest.

    Searches and refreshes may come from several threads. A search takes a view of the index and
    waits for nobody.
    """

    def __init__(
        self,
        kb: KnowledgeBase,
        embedder: TextEmbedder,
        config: RetrievalConfig | None = None,
        reranker: TextReranker | None = None,
        shard: Shard = ALL,
    ) -> None:
        check_embedder(kb.embedder, embedder.spec, "knowledge base")
        self._embedder = embedder
        self._config = config or RetrievalConfig()
        self._ranking = Ranking(self._config, reranker)
        self._refreshing = threading.Lock()
        self._lock = threading.Lock()  # of index and knowledge base: both are of one version
        self._kb = kb.snapshot()
        self._keeper = IndexKeeper(self._config, shard)
        self._index = self._keeper.open(self._kb)

    @property
    def embedder(self) -> TextEmbedder:
        """What queries are embedded with."""
        return self._embedder

    @property
    def spec(self) -> EmbedderSpec:
        """The embedder that the index is of."""
        return self._embedder.spec

    @property
    def version(self) -> int:
        """The knowledge base version that searches see."""
        return self._kb.version

    @property
    def index_kind(self) -> str:
        """How dense search is done now: `exact`, `hnsw`, `ivfpq` or `disk`."""
        return self._index.kind

    def refresh(self) -> int:
        """Applies what was committed since and returns the new version.

        Raises:
            ArtifactMismatch: The store was embedded anew: searches stay at the version before.
        """
        with self._refreshing:
            latest = self._kb.snapshot()
            if latest.checkout_latest() == self._kb.version:
                return self._kb.version
            check_embedder(latest.embedder, self._embedder.spec, "knowledge base")
            try:
                delta = latest.delta(self._kb.version)
            except NotFoundError:
                logger.warning("version %d is gone: the index is built anew", self._kb.version)
                index = self._keeper.open(latest)
                with self._lock:
                    self._index, self._kb = index, latest
            else:
                with self._lock:
                    self._index.apply(delta)
                    self._kb = latest
            return latest.version

    def search(  # noqa: PLR0913
        self,
        queries: Sequence[str],
        k: int,
        *,
        where: Where | None = None,
        groups: Sequence[str] = (),
        method: Method = "hybrid",
        vectors: FloatArray | None = None,
    ) -> list[list[Passage]]:
        """Passages of each query, best first.

        Args:
            queries: Questions or words, as people write them.
            k: At most so many passages each, and their neighbours if the configuration asks.
            where: Conditions on metadata, `document_id` or `title`; all must hold. A chunk
                without the field does not match.
            groups: Groups of the person who asks; chunks of other groups are never seen.
            method: Both searches fused (and reranked, if there is a reranker), or one of them.
            vectors: float32 [n, dim] of the queries, where they are embedded already.

        Raises:
            InputError: `k`, `where` or `method` is malformed.
        """
        check_search(k, method)
        if method == "sparse":
            vectors = None
        elif vectors is None:
            vectors = self._embedder.embed(queries)
        view = self._now(where, groups)
        results = []
        for number, query in enumerate(queries):
            vector = None if vectors is None else vectors[number]
            found = self._candidates(view, query, vector, k, method)
            passages = self._ranking.rank(query, found, k, method)
            if self._config.neighbours:
                ids = [passage.chunk_id for passage in passages]
                beside = neighbours_of(view.index.rows, ids, self._config.neighbours)
                passages = with_neighbours(passages, beside)
            results.append(passages)
        return results

    def candidates(  # noqa: PLR0913
        self,
        query: str,
        vector: FloatArray | None,
        k: int,
        *,
        where: Where | None = None,
        groups: Sequence[str] = (),
        method: Method = "hybrid",
    ) -> tuple[Candidates, int]:
        """What a ranking over several shards needs of this one, and the version it is of.

        Raises:
            InputError: `k`, `where` or `method` is malformed.
        """
        check_search(k, method)
        view = self._now(where, groups)
        return self._candidates(view, query, vector, k, method), view.kb.version

    def neighbours(self, chunk_ids: Sequence[str]) -> dict[str, list[Passage]]:
        """The chunks beside each of these in their documents; a chunk that is not here is left out.

        A document's chunks all have its access groups: who may read a chunk may read its
        neighbours.
        """
        return neighbours_of(self._index.view().rows, chunk_ids, self._config.neighbours)

    def read(self, chunk_ids: Sequence[str]) -> list[Passage]:
        """The chunks with these ids, in their order, whoever may see them.

        Raises:
            KeyError: A chunk is not in this version.
        """
        rows = self._index.view().rows
        found = rows.passages(rows.slots_with("chunk_id", chunk_ids))
        by_id = {row["chunk_id"]: Passage(**row) for row in found}
        return [by_id[chunk_id] for chunk_id in chunk_ids]

    def maintain(self) -> bool:
        """Builds the index that the chunks ask for, if it is due; True if it did.

        Searches and refreshes go on meanwhile with the old one.
        """
        if not self._keeper.is_due(self._index):
            return False
        kb = self._kb.snapshot()
        index = self._keeper.build(kb)
        if index is None:
            return False
        with self._refreshing:
            if self._kb.version > kb.version:
                index.apply(self._kb.delta(kb.version))
            with self._lock:
                self._index = index
        return True

    def _now(self, where: Where | None, groups: Sequence[str]) -> SearchView:
        # All of one version: a refresh replaces the knowledge base and changes no view.
        with self._lock:
            return SearchView(self._kb, self._index.view(), self._index.allowed(where, groups))

    def _candidates(
        self, view: SearchView, query: str, vector: FloatArray | None, k: int, method: Method
    ) -> Candidates:
        found = view.candidates(query, vector, self._ranking.depth(k, method), method)
        if self._config.diversity and method == "hybrid":
            return replace(found, vectors=view.vectors(found))
        return found


def check_search(k: int, method: str) -> None:
    """Refuses what no search can do.

    Raises:
        InputError: `k` or `method` is malformed.
    """
    if k < 1:
        raise InputError(f"k={k}: must be at least 1")
    if method not in ("hybrid", "dense", "sparse"):
        raise InputError(f"method={method!r}: expected hybrid, dense or sparse")
