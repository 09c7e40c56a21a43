"""`Service` over the deployments' handles, and the one place where Ray's errors become ours."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from typing import Any, TypeVar

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from data_pipelines.champions import Role
from rayraft.answering import AskRequest, Retrieved
from rayraft.errors import RayraftError
from rayraft.feedback import Feedback
from rayraft.records import Answer, Document
from serve.errors import Overloaded, Unavailable
from serve.service import FloatArray, Search

logger = logging.getLogger(__name__)

T = TypeVar("T")


class HandleService:
    """`Service` over the handles of the deployments.

    Args:
        router: The deployment that answers.
        retriever: The one that searches.
        generator: The one that writes.
        writer: The one that changes documents.
        generator_sleeps: Whether the generator may have no replica: a look at readiness, which
            comes every few seconds, must not wake it.
    """

    def __init__(
        self,
        router: Any,
        retriever: Any,
        generator: Any,
        writer: Any,
        generator_sleeps: bool = False,
    ) -> None:
        self._generator_sleeps = generator_sleeps
        self._router = router
        self._retriever = retriever
        self._generator = generator
        self._writer = writer

    async def answer(self, request: AskRequest) -> Answer:
        """As the protocol says."""
        answer: Answer = await result_of(self._router.answer.remote(request))
        return answer

    async def answer_stream(self, request: AskRequest) -> AsyncIterator[str | Answer]:
        """As the protocol says."""
        handle = self._router.options(stream=True)
        async for item in stream_of(handle.answer_stream.remote(request)):
            yield item

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
        ids: list[str] = await result_of(self._router.adapters.remote(tuple(groups)))
        return ids

    async def adapter_facts(self, groups: Sequence[str]) -> list[dict[str, Any]]:
        """As the protocol says."""
        facts: list[dict[str, Any]] = await result_of(
            self._router.adapter_facts.remote(tuple(groups))
        )
        return facts

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
        await result_of(self._router.ready.remote(not self._generator_sleeps))
        if not self._generator_sleeps:
            await result_of(self._generator.ready.remote())
        await result_of(self._writer.version.remote())
        version: int = await result_of(self._retriever.version.remote())
        return version


async def stream_of(response: Any) -> AsyncGenerator[Any, None]:
    """A streaming handle's items; leaving the loop early cancels the call on the replica."""
    items = response.__aiter__()
    finished = False
    try:
        while True:
            try:
                item = await _as_ours(items.__anext__())
            except StopAsyncIteration:
                finished = True
                return
            yield item
    finally:
        if not finished:
            response.cancel()


async def result_of(response: Any) -> Any:
    """A handle's result; giving up the wait cancels the call on the replica."""
    try:
        return await _as_ours(response)
    except asyncio.CancelledError:
        # Ray 2.60 ends the await alone: the replica would go on for a caller that has left.
        response.cancel()
        raise


async def _as_ours(awaited: Awaitable[T]) -> T:
    """What is awaited; what the replica raised is raised again as it was there.

    Without this, each hop would wrap the error once more, with its traceback as the message.
    """
    try:
        return await awaited
    except RayTaskError as exc:
        raise _cause_of(exc) from None
    except BackPressureError:
        raise Overloaded("the service is at its limit; try again") from None
    except (RayActorError, DeploymentUnavailableError) as exc:
        logger.warning("a replica is gone: %s", exc)
        raise Unavailable("a part of the service is restarting; try again") from exc


def _cause_of(error: RayTaskError) -> BaseException:
    cause = error.cause
    while isinstance(cause, RayTaskError):
        cause = cause.cause
    # A defect keeps its remote traceback, which only the wrapper has.
    return cause if isinstance(cause, RayraftError) else error
