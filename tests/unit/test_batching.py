import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from train.batching import Lengths, StepPlan, epoch_batches, plan_step, steps_per_epoch

BUDGET = 512


def random_lengths(count: int, seed: int = 0, causal: bool = False) -> Lengths:
    rng = np.random.default_rng(seed)
    source = rng.integers(5, 400, count)
    target = np.zeros(count, np.int64) if causal else rng.integers(2, 60, count)
    return Lengths(source=source, target=target, supervised=rng.integers(1, 60, count))


def pieces(plan: StepPlan) -> Iterator[np.ndarray]:
    for group in plan.micro_batches:
        yield from group


@pytest.mark.parametrize(("count", "batch"), [(1, 8), (7, 8), (8, 8), (100, 8), (1001, 32)])
def test_an_epoch_has_every_row_once(count: int, batch: int) -> None:
    batches = epoch_batches(random_lengths(count), batch, seed=3, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert len(batches) == steps_per_epoch(count, batch)
    sizes = {len(rows) for rows in batches}
    assert max(sizes) - min(sizes) <= 1


def test_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = random_lengths(200)

    def order(seed: int, epoch: int) -> list[int]:
        rows: list[int] = np.concatenate(epoch_batches(lengths, 8, seed, epoch)).tolist()
        return rows

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_rows_of_a_batch_have_similar_lengths() -> None:
    lengths = random_lengths(1000)
    total = lengths.source + lengths.target
    spread = [int(np.ptp(total[rows])) for rows in epoch_batches(lengths, 10, seed=0, epoch=0)]
    assert np.mean(spread) < 0.1 * np.ptp(total)


def test_batches_do_not_come_in_order_of_length() -> None:
    lengths = random_lengths(1000)
    means = [lengths.source[rows].mean() for rows in epoch_batches(lengths, 10, seed=0, epoch=0)]
    rises = np.mean(np.diff(means) > 0)
    assert 0.3 < rises < 0.7


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5, 32])
def test_a_step_has_every_row_once_whatever_the_number_of_workers(
    world_size: int, causal: bool, count: int
) -> None:
    lengths = random_lengths(64, causal=causal)
    rows = np.arange(64)[7 : 7 + count]
    plan = plan_step(lengths, rows, BUDGET, world_size)
    assert sorted(np.concatenate(list(pieces(plan))).tolist()) == rows.tolist()
    assert plan.supervised == int(lengths.supervised[rows].sum())
    assert {len(group) for group in plan.micro_batches} == {world_size}


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_micro_batches_are_within_the_budget(world_size: int) -> None:
    lengths = random_lengths(64)
    plan = plan_step(lengths, np.arange(64), BUDGET, world_size)
    assert max(lengths.cost(rows) for rows in pieces(plan)) <= BUDGET


def test_a_row_above_the_budget_is_alone() -> None:
    lengths = random_lengths(8)
    plan = plan_step(lengths, np.arange(8), 10, 2)
    assert all(len(rows) <= 1 for rows in pieces(plan))


@pytest.mark.parametrize("world_size", [2, 4])
def test_workers_get_even_work(world_size: int) -> None:
    lengths = random_lengths(2000)
    work = np.zeros(world_size)
    for rows in epoch_batches(lengths, 64, seed=0, epoch=0):
        for group in plan_step(lengths, rows, 4096, world_size).micro_batches:
            work += [lengths.cost(part) for part in group]
    assert work.max() / work.mean() < 1.05


def test_no_more_micro_batches_than_the_budget_asks_for() -> None:
    lengths = random_lengths(64)
    total = int((lengths.source + lengths.target).sum())
    plan = plan_step(lengths, np.arange(64), 4096, 2)
    assert len(plan.micro_batches) <= -(-total // 4096 // 2) + 1


def test_more_workers_than_rows_leaves_workers_idle_but_counted() -> None:
    plan = plan_step(random_lengths(3), np.arange(3), 4096, 5)
    assert len(plan.micro_batches) == 1
    assert sorted(len(rows) for rows in pieces(plan)) == [0, 0, 1, 1, 1]


def test_packed_micro_batches_hold_every_row_once_within_the_budget() -> None:
    lengths = dataclasses.replace(random_lengths(64), packed=True)
    rows = np.arange(64)
    plan = plan_step(lengths, rows, BUDGET, 2)
    assert sorted(np.concatenate(list(pieces(plan))).tolist()) == rows.tolist()
    assert max(lengths.cost(part) for part in pieces(plan)) <= BUDGET
    padded = plan_step(dataclasses.replace(lengths, packed=False), rows, BUDGET, 2)
    assert len(plan.micro_batches) <= len(padded.micro_batches)
    whole = int(lengths.source[rows].sum() + lengths.target[rows].sum())
    assert sum(lengths.cost(part) for part in pieces(plan)) == whole
