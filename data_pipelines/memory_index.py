"""The chunks of one knowledge base version in memory: texts, filters and the dense index.

The base may be memory-mapped from a snapshot.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data_pipelines.ann import AnnIndex
from data_pipelines.chunk_rows import PASSAGE_COLUMNS, RowsView, ordered_by_row_id
from data_pipelines.config import DenseConfig
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_delta import Delta
from data_pipelines.kb_table import ROW_ID
from data_pipelines.row_index import Allowed, RowIndex
from data_pipelines.schema import vector_matrix
from data_pipelines.sharding import ALL, Shard
from data_pipelines.vectors import (
    FloatArray,
    GrowingVectors,
    Hits,
    Slots,
    Vectors,
    exact_top,
    rescored,
)

INDEX_COLUMNS = [*PASSAGE_COLUMNS, "acl", ROW_ID]


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
        slots = self._proposed(query, k, allowed)
        if slots is None or len(slots) < min(k, allowed.count):  # the graph led to too few
            slots, _ = exact_top(self.vectors, query, k, allowed.mask)
        return rescored(self.vectors, query, slots, k)

    def _proposed(self, query: FloatArray, k: int, allowed: Allowed) -> Slots | None:
        """Slots that hold the top k, mostly; None where exact search is to be done."""
        ann, share = self.ann, allowed.count / len(self.rows)
        few = allowed.count <= max(self.dense.filter_exact_chunks, k)
        if ann is None or (few and ann.costs_more_than(allowed.count, k, share)):
            return None
        early = ann.propose(query, k, allowed.mask, share)
        if len(self.rows) == ann.size:
            return early
        late, _ = exact_top(self.vectors, query, k, allowed.mask, start=ann.size)
        return np.concatenate([early, late])


class MemoryIndex(RowIndex):
    """All that a search reads is in memory, or mapped into it."""

    def __init__(
        self,
        rows: pa.Table,
        vectors: FloatArray,
        ann: AnnIndex | None,
        dense: DenseConfig,
        shard: Shard = ALL,
    ) -> None:
        """Args: rows: `INDEX_COLUMNS`, ordered by row id; vectors: float32 [n, dim] of them."""
        super().__init__(rows, PASSAGE_COLUMNS, shard)
        self.ann = ann
        self._dense = dense
        self._vectors = GrowingVectors(vectors)
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
    def kind(self) -> str:
        """How vectors are searched: `exact`, `hnsw` or `ivfpq`."""
        return "exact" if self.ann is None else self.ann.kind

    def apply(self, delta: Delta) -> None:
        """Makes the index that of the delta's version."""
        self._vectors.append(vector_matrix(self._apply(delta)["embedding"]))

    def view(self) -> IndexView:
        """The index of this version."""
        return IndexView(self._rows.view(), self._vectors.view(), self.ann, self._dense)
