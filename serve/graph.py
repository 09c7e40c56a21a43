"""The answering graph: which mode and adapter, then retriever and generator.

It waits for the others all the time, so it runs where the HTTP request is: in a deployment of its
own it cost another hop for every request and every piece of a stream (14 ms on two cores with AVX2
alone), and there is nothing to scale.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from ray.util.metrics import Counter

from data_pipelines.canaries import read_canary
from data_pipelines.published_adapters import fitting_adapters
from rayraft.answering import (
    AdapterRef,
    AnswerSettings,
    AskRequest,
    Generate,
    GeneratedPiece,
    GenerateRequest,
    Retrieve,
    Retrieved,
    answer_stream,
)
from rayraft.errors import GenerationError, RayraftError
from rayraft.records import Answer
from serve.adapters import AdapterCatalog, adapter_facts
from serve.cached_answers import CachedAnswers
from serve.canary import CanaryShare
from serve.config import AnsweringConfig
from serve.handle_calls import result_of, stream_of
from serve.outcomes import OutcomeCounters
from serve.routers import RouterCatalog, following_routers
from serve.service import FloatArray, Search


class AnsweringGraph:
    """The answering logic over the handles of retriever and generator.

    Args:
        config: Of answering.
        store: Where adapters and learned routers are.
        retriever: Handle of the deployment that searches.
        generator: Handle of the deployment that writes.
    """

    def __init__(self, config: AnsweringConfig, store: str, retriever: Any, generator: Any) -> None:
        self._config = config
        self._store = store
        self._settings = config.answer_settings
        self._retriever = retriever
        self._generator = generator
        self._catalog: AdapterCatalog | None = None
        self._routers: RouterCatalog | None = None
        self._canary = CanaryShare(lambda: read_canary(store), config.adapter_poll_s)
        self._outcomes = OutcomeCounters(Counter)
        self._cached = CachedAnswers(config.cache, self._version, self._embed)

    async def answer(self, request: AskRequest) -> Answer:
        """The whole answer."""
        async for item in self._answered(request, self._generate):
            if isinstance(item, Answer):
                return item
        raise GenerationError("the answer stream ended without an answer")

    def answer_stream(self, request: AskRequest) -> AsyncIterator[str | Answer]:
        """Pieces of the answer's text, then the answer."""
        return self._answered(request, self._stream)

    async def _answered(
        self, request: AskRequest, generate: Generate
    ) -> AsyncIterator[str | Answer]:
        adapter = await self._adapter_for(request)
        settings = await self._settings_for(request, adapter)

        def make(retrieve: Retrieve) -> AsyncIterator[str | Answer]:
            return answer_stream(request, retrieve, generate, adapter, settings)

        adapter_id = adapter.adapter_id if adapter else None
        decided = (adapter_id, settings.learned.name if settings.learned else None)
        try:
            async for item in self._cached.stream(request, decided, self._retrieve, make):
                if isinstance(item, Answer):
                    self._outcomes.answered(item)
                yield item
        except RayraftError:
            self._outcomes.failed(request.mode, adapter_id)
            raise

    async def adapters(self, groups: Sequence[str]) -> list[str]:
        """Published adapters that fit the base model and that the groups may use."""
        return [facts["id"] for facts in await self.adapter_facts(groups)]

    async def adapter_facts(self, groups: Sequence[str]) -> list[dict[str, Any]]:
        """What is said of each of them."""
        catalog = await self._known_adapters()
        found = await asyncio.to_thread(catalog.published, groups)
        return [adapter_facts(adapter) for adapter in found]

    async def _adapter_for(self, request: AskRequest) -> AdapterRef | None:
        if request.mode not in ("raft", "auto", "blend"):
            return None
        catalog = await self._known_adapters()
        return await asyncio.to_thread(self._canary.choose, request, catalog.for_request)

    async def _settings_for(
        self, request: AskRequest, adapter: AdapterRef | None
    ) -> AnswerSettings:
        """With the learned router that fits, where one is needed."""
        if request.mode != "auto" or self._routers is None:
            return self._settings
        adapter_id = adapter.adapter_id if adapter else None
        learned = await asyncio.to_thread(self._routers.router, adapter_id, request.groups)
        return replace(self._settings, learned=learned)

    async def _known_adapters(self) -> AdapterCatalog:
        if self._catalog is None:
            base_digest: str = await result_of(self._generator.base_digest.remote())
            self._catalog = AdapterCatalog(
                lambda: fitting_adapters(self._store, base_digest),
                self._config.default_adapter,
                self._config.adapter_poll_s,
            )
            self._routers = following_routers(self._store, base_digest, self._catalog, self._config)
        return self._catalog

    async def _version(self) -> int:
        version: int = await result_of(self._retriever.version.remote())
        return version

    async def _embed(self, question: str) -> FloatArray:
        vectors, _ = await result_of(self._retriever.embed.remote([question]))
        vector: FloatArray = vectors[0]
        return vector

    async def _retrieve(
        self,
        question: str,
        k: int,
        where: dict[str, Any] | None,
        groups: Sequence[str],
        min_kb_version: int | None,
    ) -> Retrieved:
        search = Search(question, k, where, tuple(groups), min_kb_version)
        found: Retrieved = await result_of(self._retriever.search.remote(search))
        return found

    async def _generate(self, request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        yield await result_of(self._generator.generate.remote(request))

    async def _stream(self, request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        handle = self._generator.options(stream=True)
        async for piece in stream_of(handle.stream.remote(request)):
            yield piece
