"""Asking several parts: who is slow or away is left out, who is wrong is heard."""

import asyncio

import pytest

from rayraft.errors import InputError
from serve.errors import Unavailable
from serve.scatter import scatter


async def says(value: int, after_s: float = 0) -> int:
    await asyncio.sleep(after_s)
    return value


async def raises(error: Exception) -> int:
    raise error


def test_every_part_that_answers_in_time_is_heard_in_order():
    asked = [says(1, 0.01), says(2)]
    assert asyncio.run(scatter(asked, 5)) == [1, 2]


def test_slow_dead_and_broken_parts_are_left_out():
    asked = [says(1), says(2, 5), raises(Unavailable("gone")), raises(RuntimeError("bug"))]
    assert asyncio.run(scatter(asked, 0.05)) == [1, None, None, None]


def test_what_is_wrong_with_the_request_is_said():
    with pytest.raises(InputError, match="where"):
        asyncio.run(scatter([says(1), raises(InputError("where.n: odd"))], 5))


def test_no_part_at_all_is_an_error():
    with pytest.raises(Unavailable):
        asyncio.run(scatter([says(1, 5), raises(Unavailable("gone"))], 0.05))
