"""Vectors by slot, and exact search among them.

A slot is given once and never again: what was read of a view stays true while others are added.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from data_pipelines.filters import Mask

FloatArray = npt.NDArray[np.float32]
Slots = npt.NDArray[np.int64]
Hits = tuple[Slots, FloatArray]
"""Slots and cosine similarities, best first; equal ones by slot."""

_FAISS: Any = faiss  # its type stubs know the C++ signatures, not those of its Python layer


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
        if not len(self.tail):
            return np.asarray(self.base[slots])
        late = slots >= len(self.base)
        taken = np.empty((len(slots), self.base.shape[1]), dtype=np.float32)
        taken[~late] = self.base[slots[~late]]
        taken[late] = self.tail[slots[late] - len(self.base)]
        return taken

    def parts(self, start: int) -> Iterator[tuple[int, FloatArray]]:
        """First slot and vectors of base and tail, from slot `start` on."""
        for offset, part in ((0, self.base), (len(self.base), self.tail)):
            first = max(0, start - offset)
            if first < len(part):
                yield offset + first, part[first:]


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


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for faiss.

    A second one for a single query costs more to wake than it saves (17 ms against 1.5 for 30,000
    vectors where the cores are busy), and a service searches for many people at once.
    """
    threads = _FAISS.omp_get_max_threads()
    _FAISS.omp_set_num_threads(1)  # of this thread of ours
    try:
        yield
    finally:
        _FAISS.omp_set_num_threads(threads)


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
    found = [
        _top(part, query, k, None if allowed is None else allowed[first : first + len(part)], first)
        for first, part in vectors.parts(start)
    ]
    slots = np.concatenate([np.zeros(0, dtype=np.int64), *(hits[0] for hits in found)])
    scores = np.concatenate([np.zeros(0, dtype=np.float32), *(hits[1] for hits in found)])
    return best_of(slots, scores, k)


def _top(part: FloatArray, query: FloatArray, k: int, allowed: Mask | None, first: int) -> Hits:
    """The top k of one contiguous part; slots count from `first`."""
    if allowed is None:
        wanted = min(k, len(part))
        with one_thread():
            metric = _FAISS.METRIC_INNER_PRODUCT
            scores, places = _FAISS.knn(query[None], part, wanted, metric=metric)
        return first + places[0], scores[0]
    places = np.flatnonzero(allowed)
    return best_of(first + places, _products(part, query, places), k)


def _products(part: FloatArray, query: FloatArray, places: Slots) -> FloatArray:
    """float32 [len(places)]: inner products of the query with some rows, without copying them."""
    scores = np.empty(len(places), dtype=np.float32)
    if len(places):
        pointers = [_FAISS.swig_ptr(array) for array in (scores, query, part, places)]
        _FAISS.fvec_inner_products_by_idx(*pointers, part.shape[1], 1, len(places))
    return scores


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
