"""The deployments as plain classes; `serve.app.build_app` alone turns them into deployments.

They load what they serve and translate to the handles' calls; what they compute is in
`serve.engine` and `serve.graph`. Retriever and writer are in `serve.knowledge`.
"""

from collections.abc import AsyncIterator
from typing import Any

from rayraft.answering import GeneratedPiece, GenerateRequest
from serve.config import AppConfig, GeneratorConfig
from serve.engines import open_engine
from serve.graph import AnsweringGraph
from serve.handles import HandleService
from serve.language_model import LanguageModel, load_model
from serve.listener import Listener
from serve.loopback import Address
from serve.scaling import GRACE_S


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


class Api:
    """The HTTP ingress, and the answering graph behind it.

    Args:
        config: Of the whole service.
        store: Where adapters and learned routers are.
        retriever: Handle of the deployment that searches.
        generator: Handle of the deployment that writes.
        writer: Handle of the deployment that changes documents.
    """

    def __init__(
        self, config: AppConfig, store: str, retriever: Any, generator: Any, writer: Any
    ) -> None:
        self._config = config.api
        graph = AnsweringGraph(config.answering, store, retriever, generator)
        sleeps = config.generator.scale.sleeps
        self._service = HandleService(graph, retriever, generator, writer, sleeps)

    def __serve_build_asgi_app__(self) -> Any:
        """The ASGI application, made on the replica."""
        from serve.ingress import ingress_app

        return ingress_app(self._service, self._config)


class ListeningApi(Api):
    """The same, listening for itself.

    Args:
        address: Where.
        graph: As of `Api`.
    """

    async def __init__(self, address: Address, *graph: Any) -> None:  # type: ignore[misc]
        super().__init__(*graph)
        self._listener = Listener(self.__serve_build_asgi_app__(), address, GRACE_S)
        await self._listener.start()

    async def check_health(self) -> None:
        """Passes while it listens."""
        self._listener.check()

    async def __del__(self) -> None:
        """Serve's last call of a replica: what is begun is answered."""
        await self._listener.stop()
