"""The reranker's place in a search."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from data_pipelines.config import RetrievalConfig
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from data_pipelines.retrieval import HybridRetriever
from rayraft.errors import NotFoundError
from tests.ray.hash_embedder import HashEmbedder
from tests.ray.random_kb import random_kb, retriever, search

QUERY = "oil tax river"


class Shortest:
    """Prefers short passages."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def score(self, question: str, passages: Sequence[str]) -> npt.NDArray[np.float32]:
        assert question == QUERY
        self.seen.append(len(passages))
        return np.array([-len(passage) for passage in passages], dtype=np.float32)


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    return random_kb(str(tmp_path_factory.mktemp("kb")))


@pytest.mark.parametrize(("k", "rerank", "asked"), [(4, 12, 12), (12, 4, 12)])
def test_the_first_of_the_fused_list_are_put_in_the_rerankers_order(
    kb: KnowledgeBase, k: int, rerank: int, asked: int
) -> None:
    fused = search(retriever(kb), QUERY, asked)
    reranker = Shortest()
    config = RetrievalConfig(rerank=rerank)
    found = search(HybridRetriever(kb, HashEmbedder(), config, reranker), QUERY, k)
    assert reranker.seen == [asked]
    length = {p.chunk_id: len(f"{p.title}\n{p.text}") for p in fused}
    expected = sorted(fused, key=lambda p: length[p.chunk_id])[:k]
    assert [p.chunk_id for p in found] == [p.chunk_id for p in expected]
    assert [p.score for p in found] == [-length[p.chunk_id] for p in found]
    # What the two searches said of a passage stays with it.
    scores = {p.chunk_id: (p.dense_score, p.sparse_score) for p in fused}
    assert all((p.dense_score, p.sparse_score) == scores[p.chunk_id] for p in found)


def test_one_search_alone_is_not_reranked(kb: KnowledgeBase) -> None:
    reranker = Shortest()
    found = HybridRetriever(kb, HashEmbedder(), RetrievalConfig(rerank=8), reranker)
    plain = retriever(kb)
    for method in ("dense", "sparse"):
        assert search(found, QUERY, 5, method=method) == search(plain, QUERY, 5, method=method)
    assert reranker.seen == []


def test_nothing_found_is_nothing_to_rerank(kb: KnowledgeBase) -> None:
    reranker = Shortest()
    found = HybridRetriever(kb, HashEmbedder(), RetrievalConfig(rerank=8), reranker)
    assert search(found, QUERY, 5, where={"region": "nowhere"}) == []
    assert reranker.seen == []


def test_an_unknown_reranker_is_named(kb: KnowledgeBase, tmp_path: Path) -> None:
    config = RetrievalConfig(rerank=8, reranker=str(tmp_path / "none"))
    with pytest.raises(NotFoundError, match="none"):
        open_retriever(kb, config, embedder=HashEmbedder())
