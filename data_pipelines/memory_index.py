"""The chunks of one knowledge base version in memory: texts, filters and the dense index.

All are kept by slot alike. A base, which may be memory-mapped from a snapshot, never changes; what
comes after it is added behind, and what is replaced or removed is masked out.
"""

import functools
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_pipelines.ann import AnnIndex
from data_pipelines.chunk_rows import PASSAGE_COLUMNS, ChunkRows, RowsView, ordered_by_row_id
from data_pipelines.config import DenseConfig
from data_pipelines.filters import Mask, RowFilter, Where
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_delta import Delta
from data_pipelines.kb_table import ROW_ID
from data_pipelines.kb_text_search import serialized_rows
from data_pipelines.schema import vector_matrix
from data_pipelines.sharding import ALL, Shard
from data_pipelines.vectors import (
    FloatArray,
    GrowingVectors,
    Hits,
    Slots,
    Vectors,
    exact_top,
    one_thread,
    rescored,
)

INDEX_COLUMNS = [*PASSAGE_COLUMNS, "acl", ROW_ID]
_FILTERS_KEPT = 64


@dataclass(frozen=True)
class Allowed:
    """What a search may see."""

    mask: Mask | None
    """Bool [n_slots]; None for all slots."""
    count: int
    row_ids: npt.NDArray[np.int64] | None
    """int64 [n_slots]: rows of the knowledge base; None where every one of them may be seen."""

    @functools.cached_property
    def rows(self) -> bytes | None:
        """The same as serialised rows; None for all of them. Made when the first search asks."""
        if self.row_ids is None:
            return None
        return serialized_rows(self.row_ids if self.mask is None else self.row_ids[self.mask])

    def has(self, slot: int) -> bool:
        """Whether the slot may be seen."""
        return self.mask is None or bool(self.mask[slot])


@dataclass(frozen=True)
class IndexView:
    """The index of one version; never changed, so that searches need no lock."""

    rows: RowsView
    vectors: Vectors
    ann: AnnIndex | None
    dense: DenseConfig

    def nearest(self, query: FloatArray, k: int, allowed: Allowed) -> Hits:
        """The top k allowed slots for float32 [dim], by the stored vectors' cosines."""
        if not allowed.count:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        with one_thread():
            slots = self._proposed(query, k, allowed)
            if slots is None or len(slots) < min(k, allowed.count):  # the graph led to too few
                slots, _ = exact_top(self.vectors, query, k, allowed.mask)
        return rescored(self.vectors, query, slots, k)

    def _proposed(self, query: FloatArray, k: int, allowed: Allowed) -> Slots | None:
        """Slots that hold the top k, mostly; None where exact search is to be done."""
        ann = self.ann
        if ann is None or allowed.count <= max(self.dense.filter_exact_chunks, k):
            return None
        early = ann.propose(query, k, allowed.mask, allowed.count / len(self.rows))
        if len(self.rows) == ann.size:
            return early
        late, _ = exact_top(self.vectors, query, k, allowed.mask, start=ann.size)
        return np.concatenate([early, late])


class MemoryIndex:
    """Moves from version to version; for one thread at a time, its views for all."""

    def __init__(
        self,
        rows: pa.Table,
        vectors: FloatArray,
        ann: AnnIndex | None,
        dense: DenseConfig,
        shard: Shard = ALL,
    ) -> None:
        """Args: rows: `INDEX_COLUMNS`, ordered by row id; vectors: float32 [n, dim] of them."""
        self.ann = ann
        self._dense = dense
        self._shard = shard
        self._rows = ChunkRows(rows)
        self._vectors = GrowingVectors(vectors)
        self._filter = RowFilter()
        self._filter.append(rows)
        self._filters: OrderedDict[str, Allowed] = OrderedDict()
        self.is_mapped = False
        """Whether its base is a snapshot's."""

    @classmethod
    def of(
        cls, kb: KnowledgeBase, dense: DenseConfig | None = None, shard: Shard = ALL
    ) -> "MemoryIndex":
        """All chunks of a version (or shard of it), searched exactly."""
        chunks = shard.part_of(kb.read_chunks([*INDEX_COLUMNS, "embedding"]))
        chunks = ordered_by_row_id(chunks)
        vectors = vector_matrix(chunks["embedding"])
        return cls(chunks.select(INDEX_COLUMNS), vectors, None, dense or DenseConfig(), shard)

    @property
    def count(self) -> int:
        """Chunks of this version."""
        return self._rows.count

    @property
    def changes(self) -> int:
        """Chunks added, replaced or removed since the base."""
        return self._rows.changes

    def apply(self, delta: Delta) -> None:
        """Makes the index that of the delta's version."""
        upserted = self._shard.part_of(delta.upserted)
        self._rows.apply(upserted, delta.removed_row_ids)
        self._vectors.append(vector_matrix(upserted["embedding"]))
        self._filter.append(upserted)
        self._filters.clear()

    def view(self) -> IndexView:
        """The index of this version."""
        return IndexView(self._rows.view(), self._vectors.view(), self.ann, self._dense)

    def allowed(self, where: Where | None, groups: Sequence[str]) -> Allowed:
        """What fulfils `where` and may be read by one of `groups`.

        Raises:
            InputError: `where` is malformed.
        """
        try:
            key = json.dumps([where, sorted(groups)], sort_keys=True)
        except TypeError:
            return self._allowed(where, groups)  # no JSON: it is malformed, which is said there
        if key not in self._filters:
            self._filters[key] = self._allowed(where, groups)
            if len(self._filters) > _FILTERS_KEPT:
                self._filters.popitem(last=False)
        self._filters.move_to_end(key)
        return self._filters[key]

    def _allowed(self, where: Where | None, groups: Sequence[str]) -> Allowed:
        view = self._rows.view()
        passing = self._filter.mask(where, groups)
        mask = passing & view.alive
        count = int(mask.sum())
        every_row = count == self._rows.count and self._shard == ALL
        return Allowed(None if mask.all() else mask, count, None if every_row else view.row_ids)
