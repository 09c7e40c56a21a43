"""What the HTTP API needs of the rest: one protocol, and its implementation over Serve handles."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data_pipelines.champions import Role
from rayraft.answering import AskRequest, Retrieved
from rayraft.feedback import Feedback
from rayraft.records import Answer, Document
from serve.schemas import SearchRequest

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Search:
    """A search of somebody in `groups`."""

    query: str
    k: int
    where: dict[str, Any] | None = None
    groups: tuple[str, ...] = ()
    min_kb_version: int | None = None
    method: str = "hybrid"

    @classmethod
    def of(cls, request: SearchRequest, groups: tuple[str, ...]) -> "Search":
        """From the HTTP request."""
        return cls(
            request.query,
            request.k,
            request.where,
            groups,
            request.min_kb_version,
            request.method,
        )


class Service(Protocol):
    """The answering service as the HTTP API sees it."""

    async def answer(self, request: AskRequest) -> Answer:
        """The whole answer."""
        ...

    def answer_stream(self, request: AskRequest) -> AsyncIterator[str | Answer]:
        """Pieces of the answer's text, then the answer."""
        ...

    async def search(self, search: Search) -> Retrieved:
        """Passages, best first."""
        ...

    async def embed(self, texts: list[str]) -> tuple[FloatArray, int]:
        """float32 [n, dim], L2-normalised, and the tokens read."""
        ...

    async def rerank(self, query: str, texts: list[str]) -> tuple[list[float], int]:
        """How well each text answers the query, from 0 to 1, and the tokens read."""
        ...

    async def adapters(self, groups: Sequence[str]) -> list[str]:
        """Published adapters that the groups may use, `name-vN`."""
        ...

    async def adapter_facts(self, groups: Sequence[str]) -> list[dict[str, Any]]:
        """What is said of each of them: id, roles, what it was made from."""
        ...

    async def promote(self, adapter_id: str, note: str) -> list[str]:
        """The roles that the adapter is the champion of now."""
        ...

    async def rollback(self, role: Role, tenant: str | None) -> str | None:
        """Who is the tenant's champion of the role again, None for nobody."""
        ...

    async def document(self, document_id: str, groups: Sequence[str]) -> tuple[Document, int]:
        """The document and the version it was read in."""
        ...

    async def put_documents(self, documents: Sequence[Document], groups: Sequence[str]) -> int:
        """The version that holds all the documents."""
        ...

    async def delete_document(self, document_id: str, groups: Sequence[str]) -> int:
        """The version without the document."""
        ...

    async def add_feedback(self, feedback: Feedback) -> int:
        """The feedback version that holds it."""
        ...

    async def ready(self) -> int:
        """The version that searches see; raises if any part does not work."""
        ...
