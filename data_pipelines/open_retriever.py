"""A knowledge base with the models that search it, as every command and service opens it.

Models, and torch with them, are imported where one is loaded: a driver only names this module.
"""

from typing import TYPE_CHECKING

from data_pipelines.config import RetrievalConfig
from data_pipelines.embedders import open_embedder
from data_pipelines.kb import KnowledgeBase
from data_pipelines.model_artifacts import model_source
from data_pipelines.retrieval import HybridRetriever, TextEmbedder

if TYPE_CHECKING:
    from rayraft.models.reranker import Reranker


def open_retriever(
    kb: KnowledgeBase,
    config: RetrievalConfig | None = None,
    threads: int | None = None,
    embedder: TextEmbedder | None = None,
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
    embedder = embedder or open_embedder(kb, threads)
    return HybridRetriever(kb, embedder, config, open_reranker(kb.store, config, threads))


def open_reranker(
    store: str, config: RetrievalConfig, threads: int | None = None
) -> "Reranker | None":
    """The reranker that the configuration names; None where nothing is reranked.

    Args:
        store: Folder or URI, whose rerankers have names of their own (`name-vN`).
        config: How a knowledge base is searched.
        threads: Torch threads of this process; None leaves them as they are.

    Raises:
        NotFoundError: There is no such reranker.
        ArtifactMismatch: The store's is not the one that was published.
    """
    return load_reranker(store, config.reranker, threads) if config.rerank else None


def load_reranker(store: str, name: str, threads: int | None = None) -> "Reranker":
    """The reranker of this name, of the store (`name-vN`) or as `Reranker.load` takes it.

    Raises:
        NotFoundError: There is no such reranker.
        ArtifactMismatch: The store's is not the one that was published.
    """
    from rayraft.models.reranker import Reranker

    return Reranker.load(model_source(store, "reranker", name), threads=threads)
