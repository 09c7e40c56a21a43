"""The text engine: one model, batches of concurrent requests, adapters on demand; no Ray, no HTTP.

What the model answers by reading is read request by request. Of the rest, where the model can,
requests join and leave one running batch between two steps (`row_worker`); else a few batches take
turns with the model after every step, each until its longest output ends. So a stream never keeps
another request waiting for its end. Each is answered by its own adapter, and an adapter is never
swapped under a running forward pass.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from rayraft.deadlines import passed, within
from rayraft.errors import RayraftError
from rayraft.prompts import Message
from rayraft.protocols import GeneratedPiece, GenerateRequest, View
from rayraft.writing import Row, RowLimits
from serve.batching import Batcher
from serve.errors import Overloaded
from serve.language_model import LanguageModel
from serve.loaded import LoadedAdapters
from serve.row_worker import RowWorker

Key = str | None | int
"""What requests must share to be in one batch: None, or the adapter where it can share with no
other or is not loaded (whoever needs others would wait for its download). One that is combined from
several prompts has a number of its own."""
_LOOK_S = 0.05
"""How often a waiting check looks whether other work was finished: far below a health check."""
_PROBE: list[Message] = [{"role": "user", "content": "Question: Is anybody there?"}]


@dataclass
class Job:
    """A request in the engine."""

    request: GenerateRequest
    on_text: Callable[[str], None] | None = None
    left: threading.Event = field(default_factory=threading.Event)
    """Nobody waits for it any more."""
    was_read: bool = False
    """It cannot be answered by reading."""

    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return not (self.left.is_set() or passed(self.request.deadline_at))


class TextEngine:
    """Writes outputs for prompts with a base model and any of the published adapters.

    Args:
        model: The model; used by this engine alone.
        provide_adapter: Loads the adapter of an id into the model; raises NotFoundError.
        max_batch_size: Requests that share forward passes.
        max_batches: Batches that take turns with the model, where requests cannot come and go.
        max_loaded_adapters: Adapters kept in the model; the longest unused one goes first.
        trusted_s: So long after it finished a piece of work the engine is not probed.
        rows: What may be held at once while requests come and go; None: they never do.
        max_waiting: Requests that wait for room; more are refused.
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
        rows: RowLimits | None = None,
        max_waiting: int = 64,
    ) -> None:
        self._model = model
        opened = None if rows is None else model.open_rows(rows)
        self._worker = None if opened is None else RowWorker(opened)
        self._room = max_batch_size + max_waiting
        self._in_worker = 0
        self._adapters = LoadedAdapters(
            partial(provide_adapter, model), model.unload_adapter, max_loaded_adapters
        )
        self._trusted_s = trusted_s
        self._worked_at = float("-inf")
        self._threads = ThreadPoolExecutor(max_batches, thread_name_prefix="engine")
        # At least two: one of them may wait for an adapter's download.
        reads = model.reads_at_once
        self._readers = ThreadPoolExecutor(max(2, reads), "engine-reads") if reads else None
        # Its threads only wait; one more is for the probe of a full engine.
        self._waiters = ThreadPoolExecutor(self._room + 1, thread_name_prefix="engine-waits")
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
        if self._worker is not None:
            self._worker.check()
        began = time.monotonic()
        if began - self._worked_at < self._trusted_s:
            return
        job = Job(GenerateRequest.of(_PROBE, None, 1))
        probe = asyncio.create_task(self._submit(job, bounded=False))
        try:
            while not probe.done() and self._worked_at < began:
                await asyncio.wait({probe}, timeout=_LOOK_S)
            if probe.done():
                await probe  # raises what the model raised
        finally:
            probe.cancel()

    def close(self) -> None:
        """Ends the threads."""
        if self._worker is not None:
            self._worker.close()
        for pool in filter(None, (self._waiters, self._threads, self._readers)):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _submit(self, job: Job, bounded: bool = True) -> GeneratedPiece:
        try:
            async with within(job.request.deadline_at, "generation"):
                one = len(job.request.views) == 1
                if one and self._worker is not None:
                    return await self._join(self._worker, job, bounded)
                run = asyncio.get_running_loop().run_in_executor
                if one and self._readers and (piece := await run(self._readers, self._read, job)):
                    return piece
                return await self._batcher.submit(self._key(job.request.views), job)
        finally:
            job.left.set()

    def _read(self, job: Job) -> GeneratedPiece | None:
        """Whoever is read for waits for no other's output, as in a batch."""
        with self._adapters.using([job.request.views[0].adapter]):
            output = self._model.read(self._row(job))
        self._worked_at, job.was_read = time.monotonic(), output is None
        return None if output is None else _piece(output)

    async def _join(self, worker: RowWorker, job: Job, bounded: bool) -> GeneratedPiece:
        if bounded and self._in_worker >= self._room:
            raise Overloaded(f"the generator has {self._in_worker} requests; try again")
        self._in_worker += 1
        run = asyncio.get_running_loop().run_in_executor
        try:
            return await run(self._waiters, self._write_row, worker, job)
        finally:
            self._in_worker -= 1

    def _write_row(self, worker: RowWorker, job: Job) -> GeneratedPiece:
        with self._adapters.using([job.request.views[0].adapter]):
            return _piece(worker.write(self._row(job)))

    def _key(self, views: Sequence[View]) -> Key:
        if len(views) > 1:
            return next(self._numbers)
        adapter = views[0].adapter
        return None if self._model.shares_batches(adapter) else adapter

    async def _run_batch(self, key: Key, jobs: list[Job]) -> list[GeneratedPiece | BaseException]:
        run = asyncio.get_running_loop().run_in_executor
        try:
            return list(await run(self._threads, self._generate, key, jobs))
        except RayraftError:
            if len(jobs) == 1:
                raise
        # One of them cannot be answered: the others can.
        alone = (run(self._threads, self._generate, key, [job]) for job in jobs)
        outputs = await asyncio.gather(*alone, return_exceptions=True)
        return [output if isinstance(output, BaseException) else output[0] for output in outputs]

    def _generate(self, key: Key, jobs: list[Job]) -> list[GeneratedPiece]:
        with self._adapters.using([view.adapter for job in jobs for view in job.request.views]):
            if isinstance(key, int):
                outputs = [self._combined(job) for job in jobs]
            else:
                outputs = self._model.generate_rows([self._row(job) for job in jobs])
        self._worked_at = time.monotonic()
        return [_piece(output) for output in outputs]

    def _row(self, job: Job) -> Row:
        (view,) = job.request.views
        still = partial(self._still_wanted, job)
        reads, most = not job.was_read, job.request.max_new_tokens
        return Row(view.messages, most, job.on_text, still, view.adapter, reads)

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


def _piece(output: Any) -> GeneratedPiece:
    sure = getattr(output, "mean_logprob", None)
    return GeneratedPiece(output.text, output.prompt_tokens, output.completion_tokens, sure)
