"""Who may use an engine that answers wrongly when requests of different adapters share a batch."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class AdapterTurns:
    """Lets requests of one adapter in together; those of another wait until all of them have left.

    First come, first served: once somebody waits for another adapter, nobody joins the turn that
    runs. For one event loop.
    """

    def __init__(self) -> None:
        self._adapter: str | None = None
        self._inside = 0
        self._waiting: deque[tuple[str | None, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def of(self, adapter: str | None) -> AsyncIterator[None]:
        """Inside, no request of another adapter (None: the base model) is under way."""
        await self._enter(adapter)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, adapter: str | None) -> None:
        if not self._waiting and (self._inside == 0 or self._adapter == adapter):
            self._adapter = adapter
            self._inside += 1
            return
        let_in: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (adapter, let_in)
        self._waiting.append(place)
        try:
            await let_in
        except asyncio.CancelledError:
            if place in self._waiting:
                self._waiting.remove(place)
            if not let_in.cancelled():  # let in, and called off before it ran again
                self._leave()
            raise

    def _leave(self) -> None:
        self._inside -= 1
        if self._inside:
            return
        waiting = [place for place in self._waiting if not place[1].done()]
        if waiting:
            self._adapter = waiting[0][0]
        for adapter, let_in in waiting:
            if adapter == self._adapter:
                let_in.set_result(None)
                self._inside += 1
        self._waiting = deque(place for place in waiting if place[0] != self._adapter)
