"""Joins concurrent calls into batches: while one batch runs, the next one fills.

Not `ray.serve.batch`: that one closes a batch after a fixed wait even while the engine is busy,
so under load it queues many small batches behind its semaphore; it also mixes calls that cannot
share a forward pass (another adapter). This one never waits while the engine is free, and runs a
few batches side by side, so that what cannot share a batch need not wait for its end.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

K = TypeVar("K", bound=Hashable)
X = TypeVar("X")
Y = TypeVar("Y")


@dataclass
class _Waiting(Generic[K, X, Y]):
    key: K
    item: X
    result: "asyncio.Future[Y]"


class Batcher(Generic[K, X, Y]):
    """Runs items with equal keys together, at most `max_batch_size` at once, first come first.

    Args:
        run: Makes the results of one batch; one of them may be an error, for its caller alone.
        max_batch_size: Items of a batch.
        max_batches: Batches that run at the same time.
    """

    def __init__(
        self,
        run: Callable[[K, list[X]], Awaitable[Sequence[Y | BaseException]]],
        max_batch_size: int,
        max_batches: int = 1,
    ) -> None:
        self._run = run
        self._max_batch_size = max_batch_size
        self._max_batches = max_batches
        self._waiting: deque[_Waiting[K, X, Y]] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    async def submit(self, key: K, item: X) -> Y:
        """The result for `item`; raises what `run` raised for its batch."""
        waiting: _Waiting[K, X, Y] = _Waiting(key, item, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if len(self._workers) < self._max_batches:
            self._workers.add(asyncio.create_task(self._work()))
        return await waiting.result

    async def _work(self) -> None:
        await asyncio.sleep(0)  # let calls that are ready in this turn of the loop join
        try:
            while batch := self._next_batch():
                await self._run_batch(batch)
        finally:
            # Here, not in a callback: a call that comes before that would wait for nobody.
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _next_batch(self) -> list[_Waiting[K, X, Y]]:
        batch: list[_Waiting[K, X, Y]] = []
        others: deque[_Waiting[K, X, Y]] = deque()
        while self._waiting:
            waiting = self._waiting.popleft()
            if waiting.result.done():  # its caller went away
                continue
            fits = len(batch) < self._max_batch_size and (not batch or waiting.key == batch[0].key)
            (batch if fits else others).append(waiting)
        self._waiting = others
        return batch

    async def _run_batch(self, batch: list[_Waiting[K, X, Y]]) -> None:
        try:
            results = await self._run(batch[0].key, [waiting.item for waiting in batch])
            pairs = list(zip(batch, results, strict=True))
        except Exception as exc:
            # Every caller of the batch gets it; the worker itself must live on for the next one.
            for waiting in batch:
                if not waiting.result.done():
                    waiting.result.set_exception(exc)
            return
        for waiting, result in pairs:
            if waiting.result.done():
                continue
            if isinstance(result, BaseException):
                waiting.result.set_exception(result)
            else:
                waiting.result.set_result(result)
