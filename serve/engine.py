"""The text engine: one model in one thread, batches of concurrent requests, adapters on demand.

Knows nothing of Ray or HTTP. Everything that touches the model runs in the engine's single
thread, so an adapter is never swapped under a running forward pass.
"""

import asyncio
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from rayraft.prompts import Message
from rayraft.protocols import Combine, GeneratedPiece, GenerateRequest, View
from rayraft.writing import write
from serve.batching import Batcher
from serve.config import GeneratorConfig

Job = tuple[str | None, int] | int
"""What requests must share to be in one batch: adapter and max_new_tokens; a number of its own has
a request that is combined from several prompts."""
_LOOK_S = 0.05
"""How often a waiting check looks whether other work was finished: far below a health check."""
_PROBE: list[Message] = [{"role": "user", "content": "Question: Is anybody there?"}]


class LanguageModel(Protocol):
    """What the engine needs of `rayraft.models.text.TextModel`."""

    base_digest: str

    def load_adapter(self, name: str, path: Any) -> None:
        """Makes the adapter usable under `name`."""

    def unload_adapter(self, name: str) -> None:
        """Forgets the adapter."""

    def generate(
        self,
        prompts: Sequence[list[Message]],
        *,
        adapter: str | None = None,
        max_new_tokens: int = 96,
    ) -> list[Any]:
        """Objects with text, prompt_tokens and completion_tokens."""
        ...

    def generate_combined(
        self, views: Sequence[View], combine: Combine, *, max_new_tokens: int = 96
    ) -> Any:
        """One such object for several prompts."""
        ...

    def stream(
        self, prompt: list[Message], *, adapter: str | None = None, max_new_tokens: int = 96
    ) -> Iterator[Any]:
        """Pieces of the output's text, then an object as `generate` returns them."""
        ...


def load_model(config: GeneratorConfig) -> LanguageModel:
    """The configured base model."""
    from rayraft.models.text import TextModel

    return TextModel.load(
        config.base_model, device=config.device, dtype=config.dtype, threads=config.threads
    )


class TextEngine:
    """Writes outputs for prompts with a base model and any of the published adapters.

    Args:
        model: The model; used by this engine alone.
        provide_adapter: Loads the adapter of an id into the model; raises NotFoundError.
        max_batch_size: Prompts per forward pass.
        max_loaded_adapters: Adapters kept in the model; the longest unused one goes first.
        trusted_s: So long after it finished a piece of work the engine is not probed.
    """

    def __init__(
        self,
        model: LanguageModel,
        provide_adapter: Callable[[LanguageModel, str], None],
        max_batch_size: int = 8,
        max_loaded_adapters: int = 4,
        trusted_s: float = 10,
    ) -> None:
        self._model = model
        self._provide_adapter = provide_adapter
        self._max_loaded_adapters = max_loaded_adapters
        self._trusted_s = trusted_s
        self._worked_at = float("-inf")
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._batcher: Batcher[Job, GenerateRequest, GeneratedPiece] = Batcher(
            self._run_batch, max_batch_size
        )
        self._numbers = itertools.count()

    async def generate(self, request: GenerateRequest) -> GeneratedPiece:
        """The whole output; concurrent calls share forward passes."""
        single = len(request.views) == 1
        job = (request.views[0].adapter, request.max_new_tokens) if single else next(self._numbers)
        return await self._batcher.submit(job, request)

    async def stream(self, request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        """The output piece by piece, the token counts last; leaving early stops the model."""
        if len(request.views) > 1:
            yield await self.generate(request)
            return
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Any] = asyncio.Queue()
        left = threading.Event()

        def write() -> None:
            try:
                for piece in self._pieces(request, left):
                    loop.call_soon_threadsafe(pieces.put_nowait, piece)
            finally:
                loop.call_soon_threadsafe(pieces.put_nowait, None)

        writing = loop.run_in_executor(self._thread, write)
        try:
            while (item := await pieces.get()) is not None:
                if isinstance(item, str):
                    yield GeneratedPiece(item)
                else:
                    yield GeneratedPiece("", item.prompt_tokens, item.completion_tokens)
            await writing  # raises what the model raised
        finally:
            left.set()

    async def check(self) -> None:
        """Raises or hangs if the engine does not work: it must finish something, else one token.

        A probe alone would wait behind all running streams, and a busy engine would look wedged.
        """
        began = time.monotonic()
        if began - self._worked_at < self._trusted_s:
            return
        probe = asyncio.create_task(self.generate(GenerateRequest.of(_PROBE, None, 1)))
        try:
            while not probe.done() and self._worked_at < began:
                await asyncio.wait({probe}, timeout=_LOOK_S)
            if probe.done():
                await probe  # raises what the model raised
        finally:
            probe.cancel()

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _pieces(self, request: GenerateRequest, left: Any) -> Iterator[Any]:
        if left.is_set():
            return
        (view,) = request.views
        self._use([view.adapter])
        stream = self._model.stream(
            view.messages, adapter=view.adapter, max_new_tokens=request.max_new_tokens
        )
        try:
            for item in stream:
                self._worked_at = time.monotonic()
                if left.is_set():
                    return
                yield item
        finally:
            if isinstance(stream, Generator):
                stream.close()  # this is what stops the model

    async def _run_batch(self, job: Job, requests: list[GenerateRequest]) -> list[GeneratedPiece]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._generate, job, requests)

    def _generate(self, job: Job, requests: list[GenerateRequest]) -> list[GeneratedPiece]:
        self._use([view.adapter for view in requests[0].views])
        if isinstance(job, int):
            outputs = [write(self._model, request) for request in requests]
        else:
            adapter, max_new_tokens = job
            prompts = [request.views[0].messages for request in requests]
            outputs = self._model.generate(prompts, adapter=adapter, max_new_tokens=max_new_tokens)
        self._worked_at = time.monotonic()
        return [
            GeneratedPiece(output.text, output.prompt_tokens, output.completion_tokens)
            for output in outputs
        ]

    def _use(self, adapters: Sequence[str | None]) -> None:
        """Loads the adapters of one request; those that were not used for longest go."""
        wanted = [adapter for adapter in adapters if adapter is not None]
        for adapter in wanted:
            if adapter not in self._loaded:
                self._provide_adapter(self._model, adapter)
                self._loaded[adapter] = None
            self._loaded.move_to_end(adapter)
        while len(self._loaded) > max(self._max_loaded_adapters, len(wanted)):
            oldest, _ = self._loaded.popitem(last=False)
            self._model.unload_adapter(oldest)
