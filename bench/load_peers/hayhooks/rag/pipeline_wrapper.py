"""Haystack behind Hayhooks: BM25 and MiniLM, fused by reciprocal rank, and the reader."""

from typing import Any

from hayhooks import BasePipelineWrapper, get_last_user_message
from haystack import Document, Pipeline, component
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers.in_memory import (
    InMemoryBM25Retriever,
    InMemoryEmbeddingRetriever,
)
from haystack.document_stores.in_memory import InMemoryDocumentStore

from bench.load_peers.models import CANDIDATES, SHOWN, QuestionEmbedder, Reader, read_chunks


@component
class Embed:
    """Embeds a question."""

    def __init__(self, embedder: QuestionEmbedder) -> None:
        self._embedder = embedder

    @component.output_types(embedding=list[float])
    def run(self, query: str) -> dict[str, Any]:
        """Its vector."""
        return {"embedding": self._embedder.embed([query])[0]}


@component
class Read:
    """Answers from the first documents."""

    def __init__(self) -> None:
        self._reader = Reader()

    @component.output_types(answer=str)
    def run(self, query: str, documents: list[Document]) -> dict[str, Any]:
        """The answer."""
        shown = [
            {"id": d.id, "title": str(d.meta["title"]), "text": str(d.meta["text"])}
            for d in documents[:SHOWN]
        ]
        return {"answer": self._reader.answer(query, shown)}


class PipelineWrapper(BasePipelineWrapper):
    """What Hayhooks serves: POST /rag/run and /v1/chat/completions."""

    def setup(self) -> None:
        """Fills the store and makes the pipelines."""
        embedder = QuestionEmbedder()
        store = InMemoryDocumentStore(embedding_similarity_function="dot_product")
        store.write_documents(_documents(embedder))
        self.pipeline = _searching(store, embedder)
        self.answering = _searching(store, embedder)
        self.answering.add_component("read", Read())
        self.answering.connect("join.documents", "read.documents")

    def run_api(self, query: str, k: int = 10) -> list[dict[str, Any]]:
        """Documents, best first."""
        found = self.pipeline.run(_input(query))["join"]["documents"][:k]
        return [{"id": d.id, "score": d.score, "text": d.content} for d in found]

    def run_chat_completion(self, model: str, messages: list[dict], body: dict) -> str:
        """The answer to the last message."""
        query = get_last_user_message(messages)
        data = {**_input(query), "read": {"query": query}}
        answer: str = self.answering.run(data)["read"]["answer"]
        return answer


def _documents(embedder: QuestionEmbedder) -> list[Document]:
    chunks = read_chunks()
    vectors = embedder.embed([chunk["text"] for chunk in chunks])
    return [
        Document(
            id=chunk["id"],
            content=f"{chunk['title']}\n{chunk['text']}",
            meta={"title": chunk["title"], "text": chunk["text"]},
            embedding=vector,
        )
        for chunk, vector in zip(chunks, vectors, strict=True)
    ]


def _searching(store: InMemoryDocumentStore, embedder: QuestionEmbedder) -> Pipeline:
    made = Pipeline()
    made.add_component("bm25", InMemoryBM25Retriever(store, top_k=CANDIDATES))
    made.add_component("embed", Embed(embedder))
    made.add_component("dense", InMemoryEmbeddingRetriever(store, top_k=CANDIDATES))
    made.add_component("join", DocumentJoiner(join_mode="reciprocal_rank_fusion"))
    made.connect("embed.embedding", "dense.query_embedding")
    made.connect("bm25.documents", "join.documents")
    made.connect("dense.documents", "join.documents")
    return made


def _input(query: str) -> dict[str, Any]:
    return {"bm25": {"query": query}, "embed": {"query": query}}
