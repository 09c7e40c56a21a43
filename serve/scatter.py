"""Asks several parts at once and goes on with those that answer in time.

Knows nothing of Ray and of what is asked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from rayraft.errors import RayraftError
from serve.errors import Overloaded, Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def scatter(asked: Sequence[Awaitable[T]], timeout_s: float) -> list[T | None]:
    """Each part's answer, None for a part that is away, overloaded or too slow.

    Raises:
        Unavailable: No part answered.
        RayraftError: What a part says of the request itself: it would be wrong everywhere.
    """
    answers = await asyncio.gather(
        *(_in_time(one, number, timeout_s) for number, one in enumerate(asked))
    )
    if all(answer is None for answer in answers):
        raise Unavailable("no shard of the retriever answers; try again")
    return answers


async def _in_time(asked: Awaitable[T], number: int, timeout_s: float) -> T | None:
    try:
        async with asyncio.timeout(timeout_s):
            return await asked
    except (TimeoutError, Unavailable, Overloaded) as exc:
        logger.warning("shard %d is left out: %s", number, str(exc) or f"over {timeout_s:g} s")
    except RayraftError:
        raise
    except Exception:
        logger.exception("shard %d is left out: it failed", number)
    return None
