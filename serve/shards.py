"""A retriever in shards: each holds the documents of a part, one asks all and merges.

Both are plain classes; the merged list is the one that a single retriever would have found. A
document lives in one shard, so its chunks are of one version; shards may be a version apart for as
long as it takes them to follow.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from data_pipelines.ranking import Candidates, Ranking, merge_candidates, with_neighbours
from rayraft.answering import Retrieved
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Passage
from serve.config import RetrieverConfig
from serve.follower import Follower
from serve.handles import result_of
from serve.retriever_base import RetrieverBase, SearchThreads
from serve.scatter import scatter
from serve.service import FloatArray, Search
from serve.upkeep import start_upkeep


class RetrieverShard:
    """Finds the candidates of one part of the documents, and follows the knowledge base."""

    def __init__(self, config: RetrieverConfig, store: str, number: int) -> None:
        from data_pipelines.kb import KnowledgeBase
        from data_pipelines.retrieval import HybridRetriever
        from data_pipelines.sharding import Shard

        kb = KnowledgeBase.open(store)
        shard = Shard(number, config.shards)
        self._config = config
        self._retriever = HybridRetriever(
            kb, NoEmbedder(kb.embedder), config.retrieval, None, shard
        )
        self._follower = Follower(self._retriever.refresh, config.poll_s)
        self._threads = SearchThreads(config.threads)
        start_upkeep(self._retriever.maintain, config.upkeep_s, config.threads)

    async def candidates(
        self, search: Search, vector: FloatArray | None, depth: int
    ) -> tuple[Candidates, int]:
        """The first `depth` hits of each search, and the version they are of."""
        await self._follower.wait_for(search.min_kb_version, self._config.wait_s)
        found: tuple[Candidates, int] = await self._threads.run(
            self._candidates, search, vector, depth
        )
        return found

    async def neighbours(self, chunk_ids: list[str]) -> dict[str, list[Passage]]:
        """The chunks beside those of these that are here."""
        found: dict[str, list[Passage]] = await self._threads.run(
            self._retriever.neighbours, chunk_ids
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
        self, search: Search, vector: FloatArray | None, depth: int
    ) -> tuple[Candidates, int]:
        return self._retriever.candidates(
            search.query,
            vector,
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

        kb, retrieval = KnowledgeBase.open(store), config.retrieval
        reranker = open_reranker(kb.store, retrieval, config.threads)
        super().__init__(config, kb, reranker)
        self._ranking = Ranking(retrieval, reranker)
        self._shards = shards

    async def search(self, search: Search) -> Retrieved:
        """Passages of all shards that answer in time; `partial` if not all did."""
        from data_pipelines.retrieval import check_search

        check_search(search.k, search.method)
        method: Any = search.method
        vector = None
        if method != "sparse":
            [vector] = await self._threads.run(self._embedder.embed, [search.query])
        depth = self._ranking.depth(search.k, method)
        found = await self._ask(
            lambda shard: shard.candidates.remote(search, vector, depth),
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
        await self._threads.run(self._embedder.embed, ["health"])

    async def _with_neighbours(self, passages: list[Passage]) -> list[Passage]:
        ids = [passage.chunk_id for passage in passages]
        parts = await self._ask(lambda shard: shard.neighbours.remote(ids))
        beside = {i: around for part in parts for i, around in (part or {}).items()}
        return with_neighbours(passages, beside)

    async def _ask(self, call: Callable[[Any], Awaitable[Any]], longer_s: float = 0) -> list[Any]:
        timeout_s = self._config.shard_timeout_s + longer_s
        return await scatter([result_of(call(shard)) for shard in self._shards], timeout_s)
