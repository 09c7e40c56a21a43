"""Haystack's hybrid pipeline: BM25 and dense in memory, joined by reciprocal rank fusion."""

from collections.abc import Iterable, Mapping
from typing import Any

from haystack import Document, Pipeline, component
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers.in_memory import (
    InMemoryBM25Retriever,
    InMemoryEmbeddingRetriever,
)
from haystack.document_stores.in_memory import InMemoryDocumentStore

from bench.peers.shared import CANDIDATES, embedder

Row = Mapping[str, str]
"""`chunk_id`, `document_id`, `title` and `text`."""


@component
class QueryEmbedder:
    """As SentenceTransformersTextEmbedder, which is in a package of its own now."""

    def __init__(self) -> None:
        self._model = embedder()

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """Float [dim]."""
        return {"embedding": self._model.encode(text, show_progress_bar=False).tolist()}


class HaystackHybrid:
    """Searches rows.

    Args:
        rows: The chunks.
        vectors: Float [chunks, dim], L2-normalised.
        top_k: Of the joined list.
    """

    def __init__(self, rows: Iterable[Row], vectors: Iterable[Any], top_k: int = 10) -> None:
        store = InMemoryDocumentStore(embedding_similarity_function="dot_product")
        store.write_documents(
            [
                Document(
                    id=row["chunk_id"],
                    content=row["text"],
                    meta={"title": row["title"], "document_id": row["document_id"]},
                    embedding=vector.tolist(),
                )
                for row, vector in zip(rows, vectors, strict=True)
            ]
        )
        pipeline = Pipeline()
        pipeline.add_component("embedder", QueryEmbedder())
        pipeline.add_component("dense", InMemoryEmbeddingRetriever(store, top_k=CANDIDATES))
        pipeline.add_component("sparse", InMemoryBM25Retriever(store, top_k=CANDIDATES))
        joiner = DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=top_k)
        pipeline.add_component("joiner", joiner)
        pipeline.connect("embedder", "dense.query_embedding")
        pipeline.connect("dense", "joiner")
        pipeline.connect("sparse", "joiner")
        self.pipeline = pipeline

    def search(self, query: str) -> list[dict[str, str]]:
        """Rows, best first."""
        given = {"embedder": {"text": query}, "sparse": {"query": query}}
        hits = self.pipeline.run(given)["joiner"]["documents"]
        return [{"chunk_id": hit.id, "text": hit.content or "", **hit.meta} for hit in hits]
