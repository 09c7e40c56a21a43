"""Which rows make which step, and which worker computes which of them.

Pure functions of the rows' lengths: every worker computes the same plan, so nothing is
communicated, no worker waits for rows that do not exist, and a run resumed with another number of
workers sees the same rows in the same steps. Knows nothing about tokens or models.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

WINDOW_BATCHES = 50
"""Rows are sorted by length within this many batches: little padding, still a random order."""


@dataclass(frozen=True)
class Lengths:
    """Token counts of all rows, int64 [n_rows] each."""

    source: IntArray
    """Length of `input_ids`."""
    target: IntArray
    """Length of the decoder's input; 0 for causal models, whose target is in the source."""
    supervised: IntArray
    """Tokens that the loss counts."""
    packed: bool = False
    """Whether the rows of a batch stand side by side in one sequence, without padding."""

    def __len__(self) -> int:
        return len(self.source)

    def cost(self, rows: IntArray) -> int:
        """Tokens of these rows as one batch, with its padding."""
        if len(rows) == 0:
            return 0
        if self.packed:
            return int(self.source[rows].sum() + self.target[rows].sum())
        return len(rows) * int(self.source[rows].max() + self.target[rows].max())


@dataclass(frozen=True)
class StepPlan:
    """One optimizer step."""

    micro_batches: list[list[IntArray]]
    """[position][world_rank] -> rows; every worker has the same number, some may be empty."""
    supervised: int
    """Tokens that the loss of the whole step is a mean over."""


def steps_per_epoch(n_rows: int, global_batch_size: int) -> int:
    """Optimizer steps of one pass over the rows."""
    return max(1, round(n_rows / global_batch_size))


def epoch_batches(
    lengths: Lengths, global_batch_size: int, seed: int, epoch: int
) -> list[IntArray]:
    """The rows of each step of an epoch: every row once, batch sizes differ by at most 1."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    n_batches = steps_per_epoch(len(lengths), global_batch_size)
    windows = np.array_split(np.arange(n_batches), -(-n_batches // WINDOW_BATCHES))
    sizes = np.array([len(part) for part in np.array_split(order, n_batches)])
    batches: list[IntArray] = []
    start = 0
    for window in windows:
        counts = sizes[window]
        rows = order[start : start + counts.sum()]
        start += len(rows)
        total = lengths.source[rows] + lengths.target[rows]
        rows = rows[np.argsort(total, kind="stable")]
        batches.extend(np.split(rows, np.cumsum(counts)[:-1]))
    return [batches[i] for i in rng.permutation(n_batches)]


def plan_step(
    lengths: Lengths, rows: IntArray, micro_batch_tokens: int, world_size: int
) -> StepPlan:
    """The fewest micro batches within the token budget, with even costs.

    A single row above the budget is a micro batch of its own.
    """
    total = lengths.source[rows] + lengths.target[rows]
    rows = rows[np.argsort(-total, kind="stable")]
    positions = -(-len(_cut(lengths, rows, micro_batch_tokens)) // world_size)
    pieces = _cut_even(lengths, rows, positions * world_size, micro_batch_tokens)
    pieces.sort(key=lengths.cost, reverse=True)
    micro_batches = []
    for position in range(positions):
        group = pieces[position * world_size : (position + 1) * world_size]
        micro_batches.append(group[::-1] if position % 2 else group)
    return StepPlan(micro_batches, supervised=int(lengths.supervised[rows].sum()))


def own_batches(
    plan: StepPlan, lengths: Lengths, world_rank: int
) -> Iterator[tuple[IntArray, float]]:
    """A worker's micro batches with their share of the step's answer tokens."""
    for group in plan.micro_batches:
        rows = group[world_rank]
        if len(rows):
            yield rows, float(lengths.supervised[rows].sum()) / plan.supervised
        else:  # collectives need every worker: a row that weighs nothing
            yield np.concatenate(group)[-1:], 0.0


def _cut(lengths: Lengths, rows: IntArray, budget: int) -> list[IntArray]:
    """Consecutive pieces of `rows` (longest first), each within the budget, greedily."""
    source, target = lengths.source[rows].tolist(), lengths.target[rows].tolist()
    if lengths.packed:
        total = lengths.source[rows] + lengths.target[rows]
        return np.split(rows, _full_at(total.tolist(), budget))
    starts, longest_source, longest_target = [0], 0, 0
    for i in range(len(rows)):
        wide_source, wide_target = max(longest_source, source[i]), max(longest_target, target[i])
        if i > starts[-1] and (i - starts[-1] + 1) * (wide_source + wide_target) > budget:
            starts.append(i)
            wide_source, wide_target = source[i], target[i]
        longest_source, longest_target = wide_source, wide_target
    return np.split(rows, starts[1:])


def _full_at(sizes: list[int], budget: int) -> list[int]:
    """Where the next item would exceed the budget, greedily."""
    starts, filled = [], 0
    for i, size in enumerate(sizes):
        if i and filled + size > budget:
            starts.append(i)
            filled = 0
        filled += size
    return starts


def _cut_even(lengths: Lengths, rows: IntArray, n_pieces: int, budget: int) -> list[IntArray]:
    """At most `n_pieces` pieces whose largest cost is the least possible, padded to `n_pieces`."""
    low, high = 1, budget
    while low < high:
        middle = (low + high) // 2
        if len(_cut(lengths, rows, middle)) <= n_pieces:
            high = middle
        else:
            low = middle + 1
    pieces = _cut(lengths, rows, high)
    while len(pieces) < n_pieces:
        pieces.sort(key=lambda piece: lengths.cost(piece) if len(piece) > 1 else 0)
        widest = pieces.pop()
        half = len(widest) // 2
        pieces += [widest[:half], widest[half:]]
    return pieces
