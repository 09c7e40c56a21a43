"""How a route waits for the service."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

from serve.config import ApiConfig

T = TypeVar("T")


async def in_time(awaited: Awaitable[T], config: ApiConfig) -> T:
    """What is awaited.

    Raises:
        TimeoutError: It took longer than `api.request_timeout_s`.
    """
    async with asyncio.timeout(config.request_timeout_s):
        return await awaited


async def all_or_first_error(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; the first error ends the others, and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as exc:
        raise exc.exceptions[0] from None
    return [task.result() for task in tasks]
