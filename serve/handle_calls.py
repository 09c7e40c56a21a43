"""Calls of Serve handles, and the one place where Ray's errors become ours."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable
from typing import Any, TypeVar

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from rayraft.errors import RayraftError
from serve.errors import Overloaded, Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
RESTARTING = "a part of the service is restarting; try again"


async def stream_of(response: Any) -> AsyncGenerator[Any, None]:
    """A streaming handle's items; leaving the loop early cancels the call on the replica."""
    items = response.__aiter__()
    finished = False
    try:
        while True:
            try:
                item = await _as_ours(items.__anext__())
            except StopAsyncIteration:
                finished = True
                return
            yield item
    finally:
        if not finished:
            response.cancel()


async def result_of(response: Any) -> Any:
    """A handle's result; giving up the wait cancels the call on the replica."""
    try:
        return await _as_ours(response)
    except asyncio.CancelledError:
        # Ray 2.60 ends the await alone: the replica would go on for a caller that has left.
        response.cancel()
        raise


async def _as_ours(awaited: Awaitable[T]) -> T:
    """What is awaited; what the replica raised is raised again as it was there.

    Without this, each hop would wrap the error once more, with its traceback as the message.
    """
    try:
        return await awaited
    except RayTaskError as exc:
        raise _cause_of(exc) from None
    except asyncio.CancelledError:
        waiting = asyncio.current_task()
        if waiting is None or waiting.cancelling():
            raise
        # It was not this task that was cancelled, but the replica's, which has to go.
        raise Unavailable(RESTARTING) from None
    except BackPressureError:
        raise Overloaded("the service is at its limit; try again") from None
    except (RayActorError, DeploymentUnavailableError) as exc:
        logger.warning("a replica is gone: %s", exc)
        raise Unavailable(RESTARTING) from exc


def _cause_of(error: RayTaskError) -> BaseException:
    cause = error.cause
    while isinstance(cause, RayTaskError):
        cause = cause.cause
    # A defect keeps its remote traceback, which only the wrapper has.
    return cause if isinstance(cause, RayraftError) else error
