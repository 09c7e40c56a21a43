"""From the hits of both searches to the list that is shown: merge, fuse, rerank, diversify.

All of it is the same for one index and for many shards; it knows nothing of where hits come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from data_pipelines.config import RetrievalConfig
from data_pipelines.schema import embedded_text
from data_pipelines.vectors import FloatArray
from rayraft.diversity import diverse_order
from rayraft.fusion import reciprocal_rank_fusion, weighted_fusion
from rayraft.records import FoundBy, Passage

Method = Literal["hybrid", "dense", "sparse"]
_FLOORS = (-1.0, 0.0)  # least cosine, least BM25 score


class TextReranker(Protocol):
    """What retrieval needs of a reranker."""

    def score(self, question: str, passages: Sequence[str]) -> FloatArray:
        """float32 [n]: the higher, the better the passage answers."""
        ...


@dataclass(frozen=True)
class Candidates:
    """What the searches of one index, or of several together, found for a query."""

    dense: dict[str, float]
    """Chunk id to cosine similarity, best first."""
    sparse: dict[str, float]
    """Chunk id to BM25 score, best first."""
    passages: dict[str, Passage]
    """At least those that can be shown."""
    vectors: dict[str, FloatArray] = field(default_factory=dict)
    """Only where diversity is asked for."""


def merge_candidates(parts: Sequence[Candidates], depth: int) -> Candidates:
    """The candidates that one index over all the parts' chunks would have found."""

    def merged(lists: list[dict[str, float]]) -> dict[str, float]:
        pairs = [pair for one in lists for pair in one.items()]
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:depth])

    return Candidates(
        merged([part.dense for part in parts]),
        merged([part.sparse for part in parts]),
        {i: passage for part in parts for i, passage in part.passages.items()},
        {i: vector for part in parts for i, vector in part.vectors.items()},
    )


class Ranking:
    """The order of candidates, by the configuration."""

    def __init__(self, config: RetrievalConfig, reranker: TextReranker | None = None) -> None:
        self._config = config
        self._reranker = reranker

    def depth(self, k: int, method: Method) -> int:
        """How many hits of each search a ranking of k needs."""
        if method != "hybrid":
            return k
        return max(self._kept(k), self._config.candidates)

    def fused(self, candidates: Candidates, k: int, method: Method) -> list[tuple[str, float]]:
        """Chunk ids and fused scores of those that may still be shown, best first."""
        if method == "dense":
            return list(candidates.dense.items())[:k]
        if method == "sparse":
            return list(candidates.sparse.items())[:k]
        config = self._config
        weights = (config.dense_weight, config.sparse_weight)
        lists = (candidates.dense, candidates.sparse)
        if config.fusion == "weighted":
            fused = weighted_fusion(lists, weights, _FLOORS)
        else:
            fused = reciprocal_rank_fusion([list(hits) for hits in lists], weights, config.rrf_k)
        return fused[: self._kept(k)]

    def rank(
        self, query: str, candidates: Candidates, k: int, method: Method = "hybrid"
    ) -> list[Passage]:
        """The passages to show, best first."""
        fused = self.fused(candidates, k, method)
        passages = _with_scores(candidates, fused)
        if method != "hybrid":
            return passages
        if self._reranker is not None:
            passages = _reranked(self._reranker, query, passages)
        if self._config.diversity:
            passages = _diversified(passages, candidates.vectors, k, self._config.diversity)
        return passages[:k]

    def _kept(self, k: int) -> int:
        kept = max(k, self._config.rerank) if self._reranker else k
        return max(kept, self._config.candidates) if self._config.diversity else kept


def with_neighbours(
    hits: Sequence[Passage], beside: Mapping[str, Sequence[Passage]]
) -> list[Passage]:
    """The hits, each followed by its neighbours in its document that are not shown yet."""
    shown = {hit.chunk_id for hit in hits}
    result = []
    for hit in hits:
        result.append(hit)
        for passage in beside.get(hit.chunk_id, ()):
            if passage.chunk_id not in shown:
                shown.add(passage.chunk_id)
                found = FoundBy(beside=hit.chunk_id)
                result.append(passage.model_copy(update={"score": hit.score, "found": found}))
    return result


def _with_scores(candidates: Candidates, fused: Sequence[tuple[str, float]]) -> list[Passage]:
    dense = {chunk_id: place for place, chunk_id in enumerate(candidates.dense, start=1)}
    sparse = {chunk_id: place for place, chunk_id in enumerate(candidates.sparse, start=1)}
    return [
        candidates.passages[chunk_id].model_copy(
            update={
                "score": score,
                "dense_score": candidates.dense.get(chunk_id),
                "sparse_score": candidates.sparse.get(chunk_id),
                "found": FoundBy(
                    dense_position=dense.get(chunk_id),
                    sparse_position=sparse.get(chunk_id),
                    fused_position=place,
                    fused_score=score,
                ),
            }
        )
        for place, (chunk_id, score) in enumerate(fused, start=1)
    ]


def _reranked(reranker: TextReranker, query: str, passages: list[Passage]) -> list[Passage]:
    """By the reranker's scores, best first; equal ones stay in the order they came in."""
    if not passages:
        return passages
    scores = reranker.score(query, [embedded_text(p.title, p.text) for p in passages])
    order = np.argsort(-scores, kind="stable")
    return [_scored(passages[i], float(scores[i])) for i in order]


def _scored(passage: Passage, score: float) -> Passage:
    found = (passage.found or FoundBy()).model_copy(update={"rerank_score": score})
    return passage.model_copy(update={"score": score, "found": found})


def _diversified(
    passages: list[Passage], vectors: Mapping[str, FloatArray], k: int, diversity: float
) -> list[Passage]:
    """The k to show by MMR, over scores scaled to 0..1."""
    if not passages:
        return passages
    scores = np.array([passage.score for passage in passages], dtype=np.float32)
    relevance = (scores - scores.min()) / max(float(np.ptp(scores)), 1e-9)
    matrix = np.stack([vectors[passage.chunk_id] for passage in passages])
    return [passages[i] for i in diverse_order(relevance, matrix, k, diversity)]
