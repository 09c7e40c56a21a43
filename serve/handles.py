"""`Service` over the deployments' handles."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from data_pipelines.champions import Role
from rayraft.answering import AskRequest, Retrieved
from rayraft.feedback import Feedback
from rayraft.records import Answer, Document
from serve.graph import AnsweringGraph
from serve.handle_calls import result_of
from serve.service import FloatArray, Search


class HandleService:
    """`Service` over the handles of the deployments.

    Args:
        graph: What answers.
        retriever: The deployment that searches.
        generator: The one that writes.
        writer: The one that changes documents.
        generator_sleeps: Whether the generator may have no replica: a look at readiness, which
            comes every few seconds, must not wake it.
    """

    def __init__(
        self,
        graph: AnsweringGraph,
        retriever: Any,
        generator: Any,
        writer: Any,
        generator_sleeps: bool = False,
    ) -> None:
        self._generator_sleeps = generator_sleeps
        self._graph = graph
        self._retriever = retriever
        self._generator = generator
        self._writer = writer

    async def answer(self, request: AskRequest) -> Answer:
        """As the protocol says."""
        return await self._graph.answer(request)

    def answer_stream(self, request: AskRequest) -> AsyncIterator[str | Answer]:
        """As the protocol says."""
        return self._graph.answer_stream(request)

    async def search(self, search: Search) -> Retrieved:
        """As the protocol says."""
        found: Retrieved = await result_of(self._retriever.search.remote(search))
        return found

    async def embed(self, texts: list[str]) -> tuple[FloatArray, int]:
        """As the protocol says."""
        embedded: tuple[FloatArray, int] = await result_of(self._retriever.embed.remote(texts))
        return embedded

    async def rerank(self, query: str, texts: list[str]) -> tuple[list[float], int]:
        """As the protocol says."""
        scored: tuple[list[float], int] = await result_of(
            self._retriever.rerank.remote(query, texts)
        )
        return scored

    async def adapters(self, groups: Sequence[str]) -> list[str]:
        """As the protocol says."""
        return await self._graph.adapters(groups)

    async def adapter_facts(self, groups: Sequence[str]) -> list[dict[str, Any]]:
        """As the protocol says."""
        return await self._graph.adapter_facts(groups)

    async def promote(self, adapter_id: str, note: str) -> list[str]:
        """As the protocol says."""
        roles: list[str] = await result_of(self._writer.promote.remote(adapter_id, note))
        return roles

    async def rollback(self, role: Role, tenant: str | None) -> str | None:
        """As the protocol says."""
        champion: str | None = await result_of(self._writer.rollback.remote(role, tenant))
        return champion

    async def document(self, document_id: str, groups: Sequence[str]) -> tuple[Document, int]:
        """As the protocol says."""
        found: tuple[Document, int] = await result_of(
            self._retriever.document.remote(document_id, tuple(groups))
        )
        return found

    async def put_documents(self, documents: Sequence[Document], groups: Sequence[str]) -> int:
        """As the protocol says."""
        version: int = await result_of(self._writer.put.remote(list(documents), tuple(groups)))
        return version

    async def delete_document(self, document_id: str, groups: Sequence[str]) -> int:
        """As the protocol says."""
        version: int = await result_of(self._writer.delete.remote(document_id, tuple(groups)))
        return version

    async def add_feedback(self, feedback: Feedback) -> int:
        """As the protocol says."""
        version: int = await result_of(self._writer.add_feedback.remote(feedback))
        return version

    async def ready(self) -> int:
        """As the protocol says."""
        if not self._generator_sleeps:
            await self._graph.adapters(())
            await result_of(self._generator.ready.remote())
        await result_of(self._writer.version.remote())
        version: int = await result_of(self._retriever.version.remote())
        return version
