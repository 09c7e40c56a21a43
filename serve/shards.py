"""A retriever in shards: each holds the documents of a part, one asks all and merges.

Both are plain classes; the merged list is the one that a single retriever would have found. A
document lives in one shard, so its chunks are of one version; shards may be a version apart for as
long as it takes them to follow.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data_pipelines.ranking import Candidates, Ranking, merge_candidates, with_neighbours
from rayraft.answering import Retrieved
from rayraft.errors import ArtifactMismatch, VersionTimeout
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Passage
from serve.config import RetrieverConfig
from serve.errors import Unavailable
from serve.follower import Follower
from serve.generations import Generations, StoreEmbedder
from serve.handle_calls import result_of
from serve.retriever_base import RetrieverBase, SearchThreads
from serve.scatter import scatter
from serve.service import FloatArray, Search
from serve.upkeep import build_if_due, start_upkeep

if TYPE_CHECKING:
    from data_pipelines.retrieval import HybridRetriever
    from rayraft.models.embedder import Embedder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueryVector:
    """A query as one embedder sees it."""

    embedder_digest: str
    vector: FloatArray
    """float32 [dim], L2-normalised."""


class RetrieverShard:
    """Finds the candidates of one part of the documents, and follows the knowledge base.

    After a re-embedding the index before is kept for a while: a query's vector is of one embedder,
    and all shards, which open the new index each in its own time, must answer by the same.
    """

    def __init__(self, config: RetrieverConfig, store: str, number: int) -> None:
        from data_pipelines.sharding import Shard

        self._config = config
        self._store = store
        self._shard = Shard(number, config.shards)
        self._opened = Generations(self._open, self._build, config.overlap_s)
        self._follower = Follower(self._opened.refresh, config.poll_s)
        self._threads = SearchThreads(config.threads)
        start_upkeep(lambda: self._opened.newest.maintain(), config.upkeep_s, config.threads)

    def _open(self) -> "HybridRetriever":
        from data_pipelines.kb import KnowledgeBase
        from data_pipelines.retrieval import HybridRetriever

        kb = KnowledgeBase.open(self._store)
        embedder = NoEmbedder(kb.embedder)
        return HybridRetriever(kb, embedder, self._config.retrieval, None, self._shard)

    def _build(self, retriever: "HybridRetriever") -> None:
        build_if_due(retriever.maintain, self._config.threads)

    async def candidates(
        self, search: Search, query: QueryVector | None, depth: int
    ) -> tuple[Candidates, int]:
        """The first `depth` hits of each search, and the version they are of.

        Raises:
            ArtifactMismatch: The index of the query's embedder is not open here.
            VersionTimeout: It does not come to the version asked for.
        """
        await self._follower.wait_for(search.min_kb_version, self._config.wait_s)
        found: tuple[Candidates, int] = await self._threads.run(
            self._candidates, search, query, depth
        )
        return found

    async def neighbours(self, chunk_ids: list[str]) -> dict[str, list[Passage]]:
        """The chunks beside those of these that are here."""
        found: dict[str, list[Passage]] = await self._threads.run(
            self._opened.newest.neighbours, chunk_ids
        )
        return found

    async def version(self) -> int:
        """The version that searches see."""
        return self._follower.version

    async def check_health(self) -> None:
        """Fails where the version is no longer followed."""
        if not self._follower.is_alive():
            raise RuntimeError("the follower of the knowledge base has ended")

    def _candidates(
        self, search: Search, query: QueryVector | None, depth: int
    ) -> tuple[Candidates, int]:
        opened = self._opened
        retriever = opened.newest if query is None else opened.of(query.embedder_digest)
        if retriever.version < (search.min_kb_version or 0):  # one that was replaced stays behind
            raise VersionTimeout(
                f"min_kb_version={search.min_kb_version}: the store was embedded anew meanwhile"
            )
        return retriever.candidates(
            search.query,
            None if query is None else query.vector,
            depth,
            where=search.where,
            groups=search.groups,
            method=search.method,  # type: ignore[arg-type]  # checked by candidates
        )


class NoEmbedder:
    """Stands for the store's embedder where only its vectors are needed."""

    def __init__(self, spec: EmbedderSpec) -> None:
        self.spec = spec

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Nobody asks: a shard is given the query's vector."""
        raise RuntimeError(f"a shard does not embed ({len(texts)} texts)")


class ShardedRetriever(RetrieverBase):
    """What `serve.knowledge.Retriever` is for one index, over many shards."""

    def __init__(self, config: RetrieverConfig, store: str, *shards: Any) -> None:
        from data_pipelines.kb import KnowledgeBase
        from data_pipelines.open_retriever import open_reranker
        from data_pipelines.stores import store_uri

        store, retrieval = store_uri(store), config.retrieval
        reranker = open_reranker(store, retrieval, config.threads)
        super().__init__(config, store, reranker)
        self._embedders = Generations(
            lambda: StoreEmbedder(KnowledgeBase.open(store), config.threads),
            kept_s=math.inf,  # it takes little room, and only the shards know when they are done
        )
        self._follower = Follower(self._embedders.refresh, config.poll_s)
        self._ranking = Ranking(retrieval, reranker)
        self._shards = shards

    @property
    def embedder(self) -> "Embedder":
        """The store's."""
        return self._embedders.newest.model

    async def search(self, search: Search) -> Retrieved:
        """Passages of all shards that answer in time; `partial` if not all did."""
        from data_pipelines.retrieval import check_search

        check_search(search.k, search.method)
        if search.method == "sparse":
            return await self._search(search, None)
        for embedder in self._embedders.all:
            vector = await self._vector(embedder.model, search.query)
            try:
                return await self._search(search, QueryVector(embedder.spec.digest, vector))
            except ArtifactMismatch as exc:  # a shard has not opened the new index yet
                logger.info("asking by the embedder before, if there is one: %s", exc)
        raise Unavailable("the shards are opening the index of another embedder; try again")

    async def _search(self, search: Search, query: QueryVector | None) -> Retrieved:
        method: Any = search.method
        depth = self._ranking.depth(search.k, method)
        found = await self._ask(
            lambda shard: shard.candidates.remote(search, query, depth),
            self._config.wait_s if search.min_kb_version is not None else 0,
        )
        answered = [one for one in found if one is not None]
        merged = merge_candidates([candidates for candidates, _ in answered], depth)
        passages = await self._threads.run(
            self._ranking.rank, search.query, merged, search.k, method
        )
        if self._config.retrieval.neighbours and passages:
            passages = await self._with_neighbours(passages)
        version = min(version for _, version in answered)
        return Retrieved(passages, version, partial=len(answered) < len(self._shards))

    async def version(self) -> int:
        """The oldest version that a shard searches."""
        versions: list[int | None] = await self._ask(lambda shard: shard.version.remote())
        return min(version for version in versions if version is not None)

    async def check_health(self) -> None:
        """Embeds once; a shard's health is its own."""
        if not self._follower.is_alive():
            raise RuntimeError("the follower of the store's embedder has ended")
        await self._threads.run(self.embedder.embed, ["health"])

    async def _with_neighbours(self, passages: list[Passage]) -> list[Passage]:
        ids = [passage.chunk_id for passage in passages]
        parts = await self._ask(lambda shard: shard.neighbours.remote(ids))
        beside = {i: around for part in parts for i, around in (part or {}).items()}
        return with_neighbours(passages, beside)

    async def _ask(self, call: Callable[[Any], Awaitable[Any]], longer_s: float = 0) -> list[Any]:
        timeout_s = self._config.shard_timeout_s + longer_s
        return await scatter([result_of(call(shard)) for shard in self._shards], timeout_s)
