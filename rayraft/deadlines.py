"""Time limits of requests: one point in time that travels along, not a span for each stage."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from rayraft.errors import DeadlineExceeded

T = TypeVar("T")


@asynccontextmanager
async def within(deadline_at: float | None, what: str) -> AsyncIterator[None]:
    """Cancels what is awaited inside once `deadline_at` (seconds since 1970; None: never) passes.

    Raises:
        DeadlineExceeded: It has passed; names `what` was not finished.
    """
    if deadline_at is None:
        yield
        return
    try:
        async with asyncio.timeout(deadline_at - time.time()):
            yield
    except TimeoutError as exc:
        raise DeadlineExceeded(f"the request's time limit passed during {what}") from exc


async def next_within(items: AsyncIterator[T], deadline_at: float | None, what: str) -> T | None:
    """The next item; None after the last.

    A stream is waited for piece by piece, since a time limit around a `yield` would also count, and
    cancel, what the consumer does with the piece.

    Raises:
        DeadlineExceeded: As `within`.
    """
    async with within(deadline_at, what):
        return await anext(items, None)


def passed(deadline_at: float | None) -> bool:
    """Whether it has."""
    return deadline_at is not None and time.time() >= deadline_at
