"""RayRAFT with LangChain: a chat model, and a retriever over /v1/search.

`pip install langchain-openai`; RAYRAFT_URL and RAYRAFT_API_KEY as in openai_client.py.
"""

import os
import sys
from typing import Any

import httpx
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_openai import ChatOpenAI

URL = os.environ.get("RAYRAFT_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("RAYRAFT_API_KEY", "unused")


class RayraftRetriever(BaseRetriever):
    """The knowledge base's passages as LangChain's documents."""

    k: int = 4
    where: dict[str, Any] | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        reply = httpx.post(
            f"{URL}/v1/search",
            json={"query": query, "k": self.k, "where": self.where},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
        )
        reply.raise_for_status()
        return [
            Document(
                page_content=passage["text"],
                id=passage["chunk_id"],
                metadata={
                    **passage["metadata"],
                    "document_id": passage["document_id"],
                    "score": passage["score"],
                },
            )
            for passage in reply.json()["data"]
        ]


def main(question: str) -> None:
    """Asks as a whole and as a stream, and searches."""
    chat = ChatOpenAI(model="rayraft/rag", base_url=f"{URL}/v1", api_key=KEY)
    print("answer:", chat.invoke(question).text)
    print("streamed:", "".join(piece.text for piece in chat.stream(question)))
    for document in RayraftRetriever(k=3).invoke(question):
        print(f"found: {document.metadata['document_id']}: {document.page_content}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "How long is the warranty?")
