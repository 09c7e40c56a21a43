"""The text engine: one model, batches of concurrent requests, adapters on demand.

Knows nothing of Ray or HTTP. A batch writes all its requests' outputs step by step, streamed or
not; requests with another adapter are another batch. A few batches run side by side and take turns
with the model after every step, so a stream never keeps another request waiting for its end, and an
adapter is never swapped under a running forward pass.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from rayraft.deadlines import passed, within
from rayraft.errors import InputError
from rayraft.prompts import Message
from rayraft.protocols import Combine, GeneratedPiece, GenerateRequest, View
from rayraft.writing import Row
from serve.batching import Batcher
from serve.config import GeneratorConfig
from serve.loaded import LoadedAdapters

Key = str | None | int
"""What requests must share to be in one batch: the adapter. One that is combined from several
prompts has a number of its own."""
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

    def generate_rows(self, rows: Sequence[Row], *, adapter: str | None = None) -> list[Any]:
        """Objects with text, prompt_tokens and completion_tokens.

        May be called by several threads at the same time.
        """
        ...

    def generate_combined(
        self,
        views: Sequence[View],
        combine: Combine,
        *,
        max_new_tokens: int = 96,
        wanted: Callable[[], bool] | None = None,
    ) -> Any:
        """One such object for several prompts."""
        ...


def load_model(config: GeneratorConfig) -> LanguageModel:
    """The configured base model."""
    from rayraft.models.text import TextModel

    return TextModel.load(
        config.base_model, device=config.device, dtype=config.dtype, threads=config.threads
    )


@dataclass
class Job:
    """A request in the engine."""

    request: GenerateRequest
    on_text: Callable[[str], None] | None = None
    left: threading.Event = field(default_factory=threading.Event)
    """Nobody waits for it any more."""

    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return not (self.left.is_set() or passed(self.request.deadline_at))


class TextEngine:
    """Writes outputs for prompts with a base model and any of the published adapters.

    Args:
        model: The model; used by this engine alone.
        provide_adapter: Loads the adapter of an id into the model; raises NotFoundError.
        max_batch_size: Requests that share forward passes.
        max_batches: Batches that take turns with the model.
        max_loaded_adapters: Adapters kept in the model; the longest unused one goes first.
        trusted_s: So long after it finished a piece of work the engine is not probed.
    """

    restart_helps = True

    def __init__(  # noqa: PLR0913 - settings
        self,
        model: LanguageModel,
        provide_adapter: Callable[[LanguageModel, str], None],
        max_batch_size: int = 8,
        max_batches: int = 2,
        max_loaded_adapters: int = 4,
        trusted_s: float = 10,
    ) -> None:
        self._model = model
        self._adapters = LoadedAdapters(
            partial(provide_adapter, model), model.unload_adapter, max_loaded_adapters
        )
        self._trusted_s = trusted_s
        self._worked_at = float("-inf")
        self._threads = ThreadPoolExecutor(max_batches, thread_name_prefix="engine")
        self._batcher: Batcher[Key, Job, GeneratedPiece] = Batcher(
            self._run_batch, max_batch_size, max_batches
        )
        self._numbers = itertools.count()

    async def generate(self, request: GenerateRequest) -> GeneratedPiece:
        """The whole output; giving up the wait ends it.

        Raises:
            DeadlineExceeded: Its time limit has passed.
        """
        return await self._submit(Job(request))

    async def stream(self, request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        """The output piece by piece, the token counts last; leaving early ends it.

        Raises:
            DeadlineExceeded: Its time limit has passed.
        """
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()

        def hand_out(text: str) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, text)

        job = Job(request, hand_out)
        writing = asyncio.create_task(self._submit(job))
        writing.add_done_callback(lambda _: pieces.put_nowait(None))
        given = ""
        try:
            while (text := await pieces.get()) is not None:
                given += text
                yield GeneratedPiece(text)
            whole = await writing  # raises what the model raised
            rest = whole.text[len(given) :]
            yield replace(whole, text=rest)
        finally:
            job.left.set()
            writing.cancel()

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
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _submit(self, job: Job) -> GeneratedPiece:
        views = job.request.views
        key = views[0].adapter if len(views) == 1 else next(self._numbers)
        try:
            async with within(job.request.deadline_at, "generation"):
                return await self._batcher.submit(key, job)
        finally:
            job.left.set()

    async def _run_batch(self, key: Key, jobs: list[Job]) -> list[GeneratedPiece | BaseException]:
        run = asyncio.get_running_loop().run_in_executor
        try:
            return list(await run(self._threads, self._generate, key, jobs))
        except InputError:
            if len(jobs) == 1:
                raise
        # One of them cannot be answered: the others can.
        alone = (run(self._threads, self._generate, key, [job]) for job in jobs)
        outputs = await asyncio.gather(*alone, return_exceptions=True)
        return [output if isinstance(output, BaseException) else output[0] for output in outputs]

    def _generate(self, key: Key, jobs: list[Job]) -> list[GeneratedPiece]:
        with self._adapters.using([view.adapter for view in jobs[0].request.views]):
            if isinstance(key, int):
                outputs = [self._combined(job) for job in jobs]
            else:
                outputs = self._model.generate_rows([self._row(job) for job in jobs], adapter=key)
        self._worked_at = time.monotonic()
        return [
            GeneratedPiece(
                output.text,
                output.prompt_tokens,
                output.completion_tokens,
                getattr(output, "mean_logprob", None),
            )
            for output in outputs
        ]

    def _row(self, job: Job) -> Row:
        request = job.request
        still = partial(self._still_wanted, job)
        return Row(request.views[0].messages, request.max_new_tokens, job.on_text, still)

    def _combined(self, job: Job) -> Any:
        request = job.request
        return self._model.generate_combined(
            request.views,
            request.combine,
            max_new_tokens=request.max_new_tokens,
            wanted=partial(self._still_wanted, job),
        )

    def _still_wanted(self, job: Job) -> bool:
        """Asked for every token: an engine that asks is one that works."""
        self._worked_at = time.monotonic()
        return job.wanted()
