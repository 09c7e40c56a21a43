"""Haystack's hybrid pipeline (BM25 and dense, reciprocal rank fusion) with our reader, in Hayhooks.

`hayhooks run --pipelines-dir bench/peers/hayhooks_pipelines`
"""

from typing import Any

from hayhooks import BasePipelineWrapper, get_last_user_message
from haystack import Document, Pipeline, component
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers.in_memory import (
    InMemoryBM25Retriever,
    InMemoryEmbeddingRetriever,
)
from haystack.document_stores.in_memory import InMemoryDocumentStore

from bench.peers.shared import CANDIDATES, K, Reader, chunks, embedder, vectors


@component
class QueryEmbedder:
    """As SentenceTransformersTextEmbedder, which is in a package of its own now."""

    def __init__(self) -> None:
        self._model = embedder()

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """Float [dim]."""
        return {"embedding": self._model.encode(text, show_progress_bar=False).tolist()}


class PipelineWrapper(BasePipelineWrapper):
    """One pipeline, asked for passages or for an answer."""

    def setup(self) -> None:
        """Loads everything."""
        store = InMemoryDocumentStore(embedding_similarity_function="dot_product")
        store.write_documents(
            [
                Document(
                    id=chunk["chunk_id"],
                    content=chunk["text"],
                    meta={"title": chunk["title"], "document_id": chunk["document_id"]},
                    embedding=vector.tolist(),
                )
                for chunk, vector in zip(chunks(), vectors(), strict=True)
            ]
        )
        pipeline = Pipeline()
        pipeline.add_component("embedder", QueryEmbedder())
        pipeline.add_component("dense", InMemoryEmbeddingRetriever(store, top_k=CANDIDATES))
        pipeline.add_component("sparse", InMemoryBM25Retriever(store, top_k=CANDIDATES))
        joiner = DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=10)
        pipeline.add_component("joiner", joiner)
        pipeline.connect("embedder", "dense.query_embedding")
        pipeline.connect("dense", "joiner")
        pipeline.connect("sparse", "joiner")
        self.pipeline = pipeline
        self.reader = Reader()

    def _found(self, query: str, k: int) -> list[dict[str, str]]:
        given = {"embedder": {"text": query}, "sparse": {"query": query}}
        hits = self.pipeline.run(given)["joiner"]["documents"][:k]
        return [{"chunk_id": hit.id, "text": hit.content or "", **hit.meta} for hit in hits]

    def run_api(self, query: str, k: int = K) -> list[dict[str, str]]:
        """Passages, best first."""
        return self._found(query, k)

    def run_chat_completion(
        self, model: str, messages: list[dict[str, Any]], body: dict[str, Any]
    ) -> str:
        """One answer from retrieved passages."""
        question = get_last_user_message(messages) or ""
        return self.reader.answer(question, self._found(question, K))
