"""The deployments as plain classes; `serve.app.build_app` alone turns them into deployments.

They load what they serve and translate to the handles' calls; what they compute is in
`rayraft.answering` and `serve.engine`. Retriever and writer are in `serve.knowledge`.
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
from serve.config import AnsweringConfig, ApiConfig, GeneratorConfig
from serve.engines import open_engine
from serve.handles import HandleService, result_of, stream_of
from serve.language_model import LanguageModel, load_model
from serve.outcomes import OutcomeCounters
from serve.routers import RouterCatalog, following_routers
from serve.service import FloatArray, Search


class Generator:
    """Writes outputs with the base model and the published adapters.

    Args:
        config: Says which engine.
        store: Where the adapters are.
        vllm: Handle of vLLM's deployment, for engine `vllm`.
    """

    def __init__(self, config: GeneratorConfig, store: str, vllm: Any = None) -> None:
        self._engine, self._base_digest = open_engine(config, store, self.load_model, vllm)

    @staticmethod
    def load_model(config: GeneratorConfig) -> LanguageModel:
        """The base model; what a test replaces."""
        return load_model(config)

    async def generate(self, request: GenerateRequest) -> GeneratedPiece:
        """The whole output; concurrent calls share forward passes."""
        return await self._engine.generate(request)

    async def stream(self, request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        """The output piece by piece."""
        async for piece in self._engine.stream(request):
            yield piece

    async def base_digest(self) -> str:
        """What adapters must have been trained on."""
        return self._base_digest

    async def ready(self) -> bool:
        """True if the model has written a token lately, or its endpoint answers."""
        await self._engine.check()
        return True

    async def check_health(self) -> None:
        """Passes while the model makes progress; an idle one has to write a token.

        A failing endpoint elsewhere is no reason to replace this replica: `ready` tells of it.
        """
        if self._engine.restart_helps:
            await self._engine.check()


class Router:
    """Runs the answering logic over the retriever's and the generator's handles."""

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

    async def answer_stream(self, request: AskRequest) -> AsyncIterator[str | Answer]:
        """Pieces of the answer's text, then the answer."""
        async for item in self._answered(request, self._stream):
            yield item

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

    async def ready(self, wake: bool) -> bool:
        """True; with `wake` only once it knows the adapters that fit the generator's model."""
        if wake:
            await self.adapters(())
        return True

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


class Api:
    """The HTTP ingress."""

    def __init__(  # noqa: PLR0913  # Serve binds handles as arguments
        self,
        config: ApiConfig,
        router: Any,
        retriever: Any,
        generator: Any,
        writer: Any,
        generator_sleeps: bool = False,
    ) -> None:
        self._config = config
        self._service = HandleService(router, retriever, generator, writer, generator_sleeps)

    def __serve_build_asgi_app__(self) -> Any:
        """The ASGI application, made on the replica."""
        from serve.ingress import ingress_app

        return ingress_app(self._service, self._config)
