"""An answer from the cache where there is one, else one that is made and kept."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from rayraft.answer_cache import AnswerCache, CacheConfig, Vector, cache_scope
from rayraft.deadlines import within
from rayraft.protocols import AskRequest, Retrieve, Retrieved
from rayraft.records import Answer, CacheUse

Make = Callable[[Retrieve], AsyncIterator[str | Answer]]
"""The answer stream over a way to retrieve."""


class CachedAnswers:
    """Looks up before it makes.

    Args:
        config: Of the cache.
        version: The knowledge base version that searches see now.
        embed: float32 [dim], L2-normalised, of a question.
    """

    def __init__(
        self,
        config: CacheConfig,
        version: Callable[[], Awaitable[int]],
        embed: Callable[[str], Awaitable[Vector]],
    ) -> None:
        self._config = config
        self._version = version
        self._embed = embed
        self._cache = AnswerCache(config)

    async def stream(
        self,
        request: AskRequest,
        decided: tuple[str | None, str | None],
        retrieve: Retrieve,
        make: Make,
    ) -> AsyncIterator[str | Answer]:
        """Pieces of the answer's text, then the answer; a kept one comes in one piece.

        Args:
            request: What is asked.
            decided: Adapter, and name of the learned router, that were chosen for it.
            retrieve: How passages are found.
            make: Makes the answer.

        Raises:
            DeadlineExceeded: The request's time limit passed.
        """
        if not (self._config.enabled and request.use_cache):
            async for item in make(retrieve):
                yield item
            return
        began = time.perf_counter()
        async with within(request.deadline_at, "the look into the answer cache"):
            version = await self._version()
            self._cache.follow(version)
            scope = cache_scope(request, *decided, version)
            found, vector = await self._look(request, scope, version)
        if found is not None:
            if found.text:
                yield found.text
            yield found.model_copy(update={"timings_ms": _look_times(began)})
            return
        noted = NotedRetrieval(retrieve)
        async for item in make(noted):
            if isinstance(item, Answer):
                # Passages may be newer than the version that was looked up.
                made_in = item.kb_version if item.kb_version is not None else version
                if not noted.partial:
                    scope = cache_scope(request, *decided, made_in)
                    self._cache.keep(scope, made_in, request.question, item, vector)
                item = item.model_copy(update={"cache": CacheUse(outcome="miss")})
            yield item

    async def _look(
        self, request: AskRequest, scope: str, version: int
    ) -> tuple[Answer | None, Vector | None]:
        """The kept answer, if one will do, and the question's vector where it was needed."""
        new_enough = request.min_kb_version is None or version >= request.min_kb_version
        found = self._cache.equal(scope, request.question) if new_enough else None
        if found is not None or self._config.min_cosine is None:
            return found, None
        vector = await self._embed(request.question)
        return self._cache.near(scope, request.question, vector) if new_enough else None, vector


class NotedRetrieval:
    """`Retrieve` that remembers whether a part of the documents was left out of a search."""

    def __init__(self, retrieve: Retrieve) -> None:
        self._retrieve = retrieve
        self.partial = False
        """An answer from such passages is not kept: the next one may see them all."""

    async def __call__(
        self,
        question: str,
        k: int,
        where: dict[str, Any] | None,
        groups: Sequence[str],
        min_kb_version: int | None,
    ) -> Retrieved:
        """As the protocol says."""
        found = await self._retrieve(question, k, where, groups, min_kb_version)
        self.partial = self.partial or found.partial
        return found


def _look_times(began: float) -> dict[str, float]:
    ms = round((time.perf_counter() - began) * 1000, 3)
    return {"cache": ms, "total": ms}
