"""Vectors by slot, and exact search among them.

A slot is given once and never again: what was read of a view stays true while others are added.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_pipelines.filters import Mask

FloatArray = npt.NDArray[np.float32]
Slots = npt.NDArray[np.int64]
Hits = tuple[Slots, FloatArray]
"""Slots and cosine similarities, best first; equal ones by slot."""

_BLOCK_ROWS = 65_536  # scores of a block stay in the cache while its top k is taken
_GATHER_SHARE = 0.3  # below it, copying the rows that pass is cheaper than scoring all of them


@dataclass(frozen=True)
class Vectors:
    """float32 [n, dim], L2-normalised: those of the snapshot, then what came after it."""

    base: FloatArray
    """May be a memory map: read-only and shared with other processes."""
    tail: FloatArray

    def __len__(self) -> int:
        return len(self.base) + len(self.tail)

    def take(self, slots: Slots) -> FloatArray:
        """float32 [len(slots), dim], in the order asked."""
        late = slots >= len(self.base)
        if not late.any():
            return np.asarray(self.base[slots])
        taken = np.empty((len(slots), self.base.shape[1]), dtype=np.float32)
        taken[~late] = self.base[slots[~late]]
        taken[late] = self.tail[slots[late] - len(self.base)]
        return taken

    def blocks(self, start: int) -> Iterator[tuple[int, FloatArray]]:
        """First slot and vectors of each block from slot `start` on."""
        for offset, part in ((0, self.base), (len(self.base), self.tail)):
            for row in range(max(0, start - offset), len(part), _BLOCK_ROWS):
                yield offset + row, part[row : row + _BLOCK_ROWS]


class GrowingVectors:
    """Adds vectors behind those of a base; views taken before see no change."""

    def __init__(self, base: FloatArray) -> None:
        self._base = base
        self._tail = np.empty((0, base.shape[1]), dtype=np.float32)
        self._rows = 0

    def append(self, vectors: FloatArray) -> None:
        """Adds rows; doubles the room when it is full, so that many small deltas stay cheap."""
        needed = self._rows + len(vectors)
        if needed > len(self._tail):
            room = np.empty((max(needed, 2 * len(self._tail)), self._base.shape[1]), np.float32)
            room[: self._rows] = self._tail[: self._rows]
            self._tail = room
        self._tail[self._rows : needed] = vectors
        self._rows = needed

    def view(self) -> Vectors:
        """What is there now."""
        return Vectors(self._base, self._tail[: self._rows])


def exact_top(
    vectors: Vectors, query: FloatArray, k: int, allowed: Mask | None, start: int = 0
) -> Hits:
    """The true top k of the slots from `start` on that are allowed.

    Args:
        vectors: Where to search.
        query: float32 [dim].
        k: At most so many.
        allowed: Bool [n]: what may be returned; None for all.
        start: First slot.
    """
    best = _Best(k)
    for first, block in vectors.blocks(start):
        if allowed is None:
            best.add(None, block @ query, first)
            continue
        mask = allowed[first : first + len(block)]
        passing = np.flatnonzero(mask)
        if len(passing) < _GATHER_SHARE * len(block):
            best.add(passing, np.take(block, passing, axis=0) @ query, first)
        else:
            best.add(passing, (block @ query)[passing], first)
    return best.hits()


def rescored(vectors: Vectors, query: FloatArray, slots: Slots, k: int) -> Hits:
    """The best k of these slots by their stored vectors.

    In float64: a product of matrices rounds a row differently from place to place, and the same
    chunk must have the same score in every index.
    """
    scores = vectors.take(slots).astype(np.float64) @ query.astype(np.float64)
    return best_of(slots, scores.astype(np.float32), k)


def best_of(slots: Slots, scores: FloatArray, k: int) -> Hits:
    """The best k, best first; equal scores by slot."""
    if len(slots) > 2 * k:
        kept = np.argpartition(-scores, k - 1)[:k]
        slots, scores = slots[kept], scores[kept]
    order = np.lexsort((slots, -scores))[:k]
    return slots[order], scores[order]


class _Best:
    """The top k over blocks."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._slots: list[Slots] = []
        self._scores: list[FloatArray] = []

    def add(self, places: npt.NDArray[np.intp] | None, scores: FloatArray, first: int) -> None:
        """Scores of one block, at `places` in it (None: all of it)."""
        if len(scores) > self._k:
            kept = np.argpartition(-scores, self._k - 1)[: self._k]
            scores, places = scores[kept], kept if places is None else places[kept]
        elif places is None:
            places = np.arange(len(scores))
        self._slots.append(first + places.astype(np.int64))
        self._scores.append(scores)

    def hits(self) -> Hits:
        if not self._slots:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        return best_of(np.concatenate(self._slots), np.concatenate(self._scores), self._k)
