"""LlamaIndex behind FastAPI: BM25 and MiniLM, fused by reciprocal rank, and the reader.

uvicorn bench.load_peers.llamaindex_app:api
"""

from typing import Any

from fastapi import FastAPI
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.retrievers.bm25 import BM25Retriever
from pydantic import BaseModel, PrivateAttr

from bench.load_peers.models import CANDIDATES, SHOWN, QuestionEmbedder, Reader, read_chunks

SEPARATOR = "\n\n"


class MiniLM(BaseEmbedding):
    """LlamaIndex's seam for embedders."""

    _embedder: QuestionEmbedder = PrivateAttr(default_factory=QuestionEmbedder)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embedder.embed([query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._embedder.embed([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embedder.embed(texts)


class ReadingEngine(CustomQueryEngine):
    """Retrieves and answers from the first nodes."""

    retriever: Any
    reader: Any

    def custom_query(self, query_str: str) -> str:
        """The answer."""
        shown = [_chunk(found.node) for found in self.retriever.retrieve(query_str)[:SHOWN]]
        answer: str = self.reader.answer(query_str, shown)
        return answer


class SearchBody(BaseModel):
    """POST /v1/search."""

    query: str
    k: int = 10


class ChatBody(BaseModel):
    """POST /v1/chat/completions."""

    messages: list[dict[str, str]]


def _chunk(node: Any) -> dict[str, str]:
    title, _, text = node.get_content().partition(SEPARATOR)
    return {"id": node.node_id, "title": title, "text": text}


def _nodes() -> list[TextNode]:
    return [
        TextNode(id_=c["id"], text=f"{c['title']}{SEPARATOR}{c['text']}") for c in read_chunks()
    ]


def _fusion() -> QueryFusionRetriever:
    nodes = _nodes()
    index = VectorStoreIndex(nodes, embed_model=MiniLM())
    return QueryFusionRetriever(
        [
            index.as_retriever(similarity_top_k=CANDIDATES),
            BM25Retriever(nodes=nodes, similarity_top_k=CANDIDATES),
        ],
        llm=MockLLM(),  # writes no further queries: num_queries is 1
        mode=FUSION_MODES.RECIPROCAL_RANK,
        similarity_top_k=CANDIDATES,
        num_queries=1,
        use_async=False,  # it would start an event loop in the thread of every request
    )


api = FastAPI()
retriever = _fusion()
engine = ReadingEngine(retriever=retriever, reader=Reader())


@api.get("/status")
def status() -> dict[str, str]:
    """It is loaded."""
    return {"status": "ready"}


@api.post("/v1/search")
def search(body: SearchBody) -> dict[str, Any]:
    """Nodes, best first."""
    found: list[NodeWithScore] = retriever.retrieve(body.query)[: body.k]
    return {"data": [{**_chunk(f.node), "score": f.score} for f in found]}


@api.post("/v1/chat/completions")
def chat(body: ChatBody) -> dict[str, Any]:
    """The answer to the last message."""
    text = str(engine.query(body.messages[-1]["content"]))
    message = {"role": "assistant", "content": text}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}
