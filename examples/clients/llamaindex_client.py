"""RayRAFT with LlamaIndex: a language model, and a retriever over /v1/search.

`pip install llama-index-llms-openai-like`, in an environment of its own: it needs an older openai.
RAYRAFT_URL and RAYRAFT_API_KEY as in openai_client.py.
"""

import os
import sys

import httpx
from llama_index.core.llms import ChatMessage
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.llms.openai_like import OpenAILike

URL = os.environ.get("RAYRAFT_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("RAYRAFT_API_KEY", "unused")


class RayraftRetriever(BaseRetriever):
    """The knowledge base's passages as LlamaIndex's nodes."""

    def __init__(self, k: int = 4) -> None:
        self._k = k
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        reply = httpx.post(
            f"{URL}/v1/search",
            json={"query": query_bundle.query_str, "k": self._k},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
        )
        reply.raise_for_status()
        return [
            NodeWithScore(
                node=TextNode(
                    id_=passage["chunk_id"],
                    text=passage["text"],
                    metadata={**passage["metadata"], "document_id": passage["document_id"]},
                ),
                score=passage["score"],
            )
            for passage in reply.json()["data"]
        ]


def main(question: str) -> None:
    """Asks as a whole and as a stream, and searches."""
    model = OpenAILike(model="rayraft/rag", api_base=f"{URL}/v1", api_key=KEY, is_chat_model=True)
    messages = [ChatMessage(role="user", content=question)]
    print("answer:", model.chat(messages).message.content)
    print("streamed:", "".join(piece.delta or "" for piece in model.stream_chat(messages)))
    for found in RayraftRetriever(k=3).retrieve(question):
        print(f"found: {found.node.metadata['document_id']}: {found.node.get_content()}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "How long is the warranty?")
