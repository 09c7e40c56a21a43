"""Joining concurrent calls into batches."""

import asyncio

from rayraft.errors import InputError
from serve.batching import Batcher


def run_batches(calls, max_batch_size=4, run=None):
    """(batches as run, results) of concurrent `calls` of (key, item)."""
    batches = []

    async def default(key, items):
        batches.append((key, list(items)))
        await asyncio.sleep(0.01)
        return [item * 10 for item in items]

    async def go():
        batcher = Batcher(run or default, max_batch_size)
        return await asyncio.gather(
            *(batcher.submit(key, item) for key, item in calls), return_exceptions=True
        )

    return batches, asyncio.run(go())


def test_concurrent_calls_share_a_batch_and_get_their_own_result():
    batches, results = run_batches([("a", n) for n in range(4)])
    assert batches == [("a", [0, 1, 2, 3])]
    assert results == [0, 10, 20, 30]


def test_batches_never_mix_keys_nor_exceed_the_size():
    calls = [("a" if n % 2 else "b", n) for n in range(12)]
    batches, results = run_batches(calls, max_batch_size=3)
    assert results == [n * 10 for _, n in calls]
    assert all(len(items) <= 3 for _, items in batches)
    assert all({("a" if n % 2 else "b") for n in items} == {key} for key, items in batches)
    assert len(batches) == 4


def test_a_failed_batch_fails_its_callers_and_nobody_else():
    async def run(key, items):
        if key == "bad":
            raise InputError("no")
        return items

    _, results = run_batches([("bad", 1), ("good", 2), ("bad", 3)], run=run)
    assert isinstance(results[0], InputError) and isinstance(results[2], InputError)
    assert results[1] == 2


def test_a_caller_that_went_away_costs_no_work():
    ran = []

    async def run(key, items):
        ran.extend(items)
        await asyncio.sleep(0.02)
        return items

    async def go():
        batcher = Batcher(run, 1)
        first = asyncio.create_task(batcher.submit("a", 1))
        left = asyncio.create_task(batcher.submit("a", 2))
        last = asyncio.create_task(batcher.submit("a", 3))
        await asyncio.sleep(0.005)
        left.cancel()
        return await first, await last

    assert asyncio.run(go()) == (1, 3)
    assert ran == [1, 3]


def test_batches_run_side_by_side_up_to_the_limit():
    running, most = [], []

    async def run(key, items):
        running.append(key)
        most.append(len(running))
        await asyncio.sleep(0.01)
        running.remove(key)
        return items

    async def go():
        batcher = Batcher(run, max_batch_size=4, max_batches=2)
        return await asyncio.gather(*(batcher.submit(key, key) for key in range(5)))

    assert asyncio.run(go()) == [0, 1, 2, 3, 4]
    assert max(most) == 2


def test_an_error_of_one_item_is_for_its_caller_alone():
    async def run(key, items):
        return [InputError("no") if item == 1 else item for item in items]

    _, results = run_batches([("a", 0), ("a", 1), ("a", 2)], run=run)
    assert isinstance(results[1], InputError)
    assert (results[0], results[2]) == (0, 2)
