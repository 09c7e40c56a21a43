"""A knowledge base with the models that search it, as every command and service opens it."""

from data_pipelines.config import RetrievalConfig
from data_pipelines.kb import KnowledgeBase
from data_pipelines.retrieval import HybridRetriever
from rayraft.models.embedder import Embedder
from rayraft.models.reranker import Reranker


def open_retriever(
    kb: KnowledgeBase,
    config: RetrievalConfig | None = None,
    threads: int | None = None,
    embedder: Embedder | None = None,
) -> HybridRetriever:
    """The retriever over `kb`, with the store's embedder and, if it is asked for, the reranker.

    Args:
        kb: The knowledge base.
        config: How it is searched.
        threads: Torch threads of this process; None leaves them as they are.
        embedder: The store's, where it is loaded already.

    Raises:
        NotFoundError: There is no such reranker.
    """
    config = config or RetrievalConfig()
    embedder = embedder or Embedder.load(kb.embedder.name, threads=threads)
    reranker = Reranker.load(config.reranker, threads=threads) if config.rerank else None
    return HybridRetriever(kb, embedder, config, reranker)
