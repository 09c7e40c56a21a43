"""vLLM's deployment: an `LLMServer` of `ray.serve.llm`, with this store's adapters.

It may run in an environment of its own, so it imports neither the project's models nor, before it
is started, vLLM. Token ids in, token ids out; whoever stops listening ends the request.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from rayraft.deadlines import next_within, within
from rayraft.errors import ArtifactMismatch, NotFoundError
from rayraft.models.base_files import base_digest
from serve.adapter_turns import AdapterTurns
from serve.config import GeneratorConfig
from serve.scaling import HEALTH_CHECK_PERIOD_S
from serve.vllm_adapters import AdapterFolders, AdapterSource
from serve.vllm_calls import VllmPiece, VllmRequest
from serve.vllm_events import errors_as_ours, one_line, pieces_of
from serve.vllm_options import BASE, check_vllm, llm_config

_LOOK_S = 0.05
"""How often a waiting check looks whether other work was finished: far below a health check."""


class VllmServer:
    """Writes tokens with the base model and the published adapters.

    Args:
        settings: A `GeneratorConfig` as plain values: another environment may have another
            pydantic.
        store: Where the adapters are.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: dict[str, Any], store: str
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rayraft-vllm-")
        check_vllm()
        config = GeneratorConfig(**settings)
        digest = await asyncio.to_thread(base_digest, config.base_model)
        source = AdapterSource(store, digest, config.vllm.max_lora_rank)
        self._adapters = AdapterFolders(
            Path(self._folder.name), source.fetch, config.max_loaded_adapters
        )
        self._serves_adapters = config.vllm.max_loras > 0
        self._turns = AdapterTurns() if config.vllm.accelerator == "cpu" else None
        self._naming = asyncio.Lock()
        self._worked_at = float("-inf")
        self._server = await _started(config)

    def __del__(self) -> None:
        # Serve calls it when it takes a replica down, whose process then ends without finalizers.
        self._folder.cleanup()

    async def stream(self, request: VllmRequest) -> AsyncGenerator[VllmPiece, None]:
        """The output piece by piece; leaving early ends it and frees its memory.

        Raises:
            DeadlineExceeded: The request's time limit has passed.
            NotFoundError: The adapter is not published.
            ArtifactMismatch: The adapter does not fit.
            InputError: The request is longer than the model's context.
            Unavailable: vLLM's engine has died; the replica is about to be replaced.
            GenerationError: vLLM failed.
        """
        deadline_at = request.deadline_at
        async with AsyncExitStack() as held:
            held.enter_context(errors_as_ours())
            async with within(deadline_at, "generation"):
                await self._hold(request.adapter, held)
                items = await self._server.completions(_completion(request))
            told = await held.enter_async_context(_running(items))
            while (item := await next_within(told, deadline_at, "generation")) is not None:
                self._worked_at = time.monotonic()
                for piece in pieces_of(item):
                    yield piece

    async def ready(self) -> bool:
        """True if it has written a token lately, or writes one now."""
        await self.check_health()
        return True

    async def check_health(self) -> None:
        """Raises or hangs if the engine does not work: an idle one has to write a token.

        A probe alone would wait behind all running requests, and a busy engine would look wedged.
        """
        with errors_as_ours():
            await self._server.check_health()
        began = time.monotonic()
        if began - self._worked_at < HEALTH_CHECK_PERIOD_S:
            return
        probe = asyncio.create_task(self._probe())
        try:
            while not probe.done() and self._worked_at < began:
                await asyncio.wait({probe}, timeout=_LOOK_S)
            if probe.done():
                await probe  # raises what vLLM raised
        finally:
            probe.cancel()

    async def _hold(self, adapter: str | None, held: AsyncExitStack) -> None:
        """The adapter's files, then its turn, then the adapter in vLLM, until `held` is left."""
        if adapter is None:
            await self._take_turn(None, held)
            return
        if not self._serves_adapters:
            raise NotFoundError(f"adapter {adapter!r}: generator.vllm.max_loras=0 serves none")
        folder = await held.enter_async_context(self._adapters.using(adapter))
        await self._take_turn(adapter, held)
        # Internal to Ray, which has no other name for what its engine's own protocol takes.
        from ray.llm._internal.serve.core.configs.llm_config import DiskMultiplexConfig

        where = {"model_id": adapter, "local_path": str(folder)}
        named = DiskMultiplexConfig(max_total_tokens=None, lora_assigned_int_id=0, **where)
        try:
            async with self._naming:  # it refuses the second of two that come at the same time
                await self._server.engine.resolve_lora(named)
        except ValueError as exc:
            raise ArtifactMismatch(f"adapter {adapter}: {one_line(str(exc))}") from exc

    async def _take_turn(self, adapter: str | None, held: AsyncExitStack) -> None:
        if self._turns is not None:
            await held.enter_async_context(self._turns.of(adapter))

    async def _probe(self) -> None:
        async with aclosing(self.stream(VllmRequest((0, 1), 1, ()))) as pieces:
            async for _ in pieces:
                return


async def _started(config: GeneratorConfig) -> Any:
    from ray.serve.llm import LLMConfig, LLMServer

    server: Any = LLMServer.sync_init(LLMConfig(**llm_config(config)))
    await server.start()
    return server


@asynccontextmanager
async def _running(items: AsyncIterator[Any]) -> AsyncIterator[AsyncIterator[Any]]:
    """The items, from a task that has ended for certain once the context is left.

    vLLM takes a request back when the wait for its next token is cancelled. A generator that is
    closed or forgotten between two tokens ends some turns of the loop later, when the next adapter
    may already have its turn.
    """
    told: asyncio.Queue[Any] = asyncio.Queue()

    async def listen() -> None:
        async for item in items:
            told.put_nowait(item)

    async def tell() -> AsyncIterator[Any]:
        while (item := await told.get()) is not None:
            yield item
        await listening  # raises what vLLM raised

    listening = asyncio.create_task(listen())
    listening.add_done_callback(lambda _: told.put_nowait(None))
    try:
        yield tell()
    finally:
        listening.cancel()
        await asyncio.wait({listening})


def _completion(request: VllmRequest) -> Any:
    from ray.serve.llm.openai_api_models import CompletionRequest

    return CompletionRequest(
        request_id=uuid4().hex,  # Serve's would be that of all that is asked for one answer
        model=request.adapter or BASE,
        prompt=list(request.prompt),
        max_tokens=request.max_new_tokens,
        temperature=0,
        stop_token_ids=list(request.end_ids),
        stream=True,
        return_token_ids=True,
        logprobs=0,  # of the chosen token alone
    )
