"""LlamaIndex behind FastAPI: dense and BM25 retrievers, reciprocal rank fusion, our reader.

`python -m uvicorn bench.peers.llamaindex_app:app`
"""

from typing import Any

import Stemmer
from fastapi import FastAPI
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import TextNode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.retrievers.bm25 import BM25Retriever
from pydantic import BaseModel

from bench.peers.shared import CANDIDATES, K, Reader, chunks, get_model_path, vectors


class Query(BaseModel):
    """As our /v1/search takes it."""

    query: str
    k: int = K


class Chat(BaseModel):
    """The part of OpenAI's request that is used."""

    model: str
    messages: list[dict[str, str]]


def _retriever() -> QueryFusionRetriever:
    Settings.llm = MockLLM()  # asked for nothing: num_queries is 1
    Settings.embed_model = HuggingFaceEmbedding(model_name=str(get_model_path()), device="cpu")
    nodes = [
        TextNode(
            id_=chunk["chunk_id"],
            text=chunk["text"],
            metadata={"title": chunk["title"], "document_id": chunk["document_id"]},
            embedding=vector.tolist(),
        )
        for chunk, vector in zip(chunks(), vectors(), strict=True)
    ]
    dense = VectorStoreIndex(nodes).as_retriever(similarity_top_k=CANDIDATES)
    sparse = BM25Retriever.from_defaults(
        nodes=nodes,
        similarity_top_k=CANDIDATES,
        stemmer=Stemmer.Stemmer("english"),
        language="english",
    )
    return QueryFusionRetriever(
        [dense, sparse], mode="reciprocal_rerank", similarity_top_k=10, num_queries=1
    )


app = FastAPI()
retriever = _retriever()
reader = Reader()


def _found(query: str, k: int) -> list[dict[str, str]]:
    hits = retriever.retrieve(query)[:k]
    return [
        {"chunk_id": hit.node.node_id, "text": hit.node.get_content(), **hit.node.metadata}
        for hit in hits
    ]


@app.post("/v1/search")
def search(query: Query) -> list[dict[str, str]]:
    """Passages, best first."""
    return _found(query.query, query.k)


@app.post("/v1/chat/completions")
def chat(request: Chat) -> dict[str, Any]:
    """One answer from retrieved passages."""
    question = request.messages[-1]["content"]
    text = reader.answer(question, _found(question, K))
    message = {"role": "assistant", "content": text}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}
