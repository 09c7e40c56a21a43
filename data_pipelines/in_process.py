"""Retrieval for answers that are written in this process: command line and evaluation."""

from collections.abc import Sequence
from typing import Any, Protocol

from rayraft.protocols import Retrieve, Retrieved
from rayraft.records import Passage


class Searcher(Protocol):
    """The part of `HybridRetriever` that answering needs."""

    @property
    def version(self) -> int:
        """Knowledge base version."""
        ...

    def search(
        self, queries: Sequence[str], k: int, *, where: Any = None, groups: Sequence[str] = ()
    ) -> list[list[Passage]]:
        """Passages of each query, best first."""
        ...


def retrieve_from(searcher: Searcher) -> Retrieve:
    """`Retrieve` in the version that `searcher` is at; nobody writes that would be waited for."""

    async def retrieve(
        question: str,
        k: int,
        where: dict[str, Any] | None,
        groups: Sequence[str],
        min_kb_version: int | None,
    ) -> Retrieved:
        (passages,) = searcher.search([question], k, where=where, groups=groups)
        return Retrieved(passages, searcher.version)

    return retrieve
