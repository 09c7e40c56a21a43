"""An index for more chunks than memory holds: texts and vectors stay where Lance stores them.

In memory are, of each chunk, its row id and codes for what filters ask of it (some 40 bytes), and
each distinct document id, title and metadata value once. Lance proposes rows among those that may
be seen; their stored vectors decide, as with the other indexes.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_pipelines.chunk_rows import PASSAGE_COLUMNS, RowsView, ordered_by_row_id, passage_fields
from data_pipelines.config import DenseConfig
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_delta import Delta
from data_pipelines.kb_table import ROW_ID, sql_text
from data_pipelines.kb_vectors import VECTOR_COLUMN, lists_for, nearest_rows, read_rows_at
from data_pipelines.row_index import Allowed, RowIndex
from data_pipelines.schema import vector_matrix
from data_pipelines.sharding import ALL, Shard
from data_pipelines.vectors import FloatArray, Hits, Slots, best_of

_FILTER_COLUMNS = ["document_id", "title", "metadata", "acl", ROW_ID]


@dataclass(frozen=True)
class StoredRows:
    """What `RowsView` is, with the texts read when they are asked for."""

    slots: RowsView
    kb: KnowledgeBase

    def __len__(self) -> int:
        return len(self.slots)

    def slots_of(self, row_ids: Sequence[int]) -> list[int]:
        """The slot of each row in this version; -1 where it has none."""
        return self.slots.slots_of(row_ids)

    def passages(self, slots: Sequence[int]) -> list[dict[str, Any]]:
        """The chunks at these slots as fields of `Passage`, in the order asked."""
        if not len(slots):
            return []
        row_ids = self.slots.row_ids[np.array(slots, dtype=np.int64)]
        rows = read_rows_at(self.kb, row_ids, PASSAGE_COLUMNS).to_pylist()
        by_id = {row.pop(ROW_ID): passage_fields(row) for row in rows}
        return [by_id[row_id] for row_id in row_ids.tolist()]

    def slots_with(self, column: str, values: Collection[str]) -> list[int]:
        """The slots of this version whose `column` has one of the values, in order."""
        listed = ", ".join(map(sql_text, sorted(values)))
        if not listed:
            return []
        rows = self.kb.read_chunks([ROW_ID], f"{column} IN ({listed})")[ROW_ID].to_pylist()
        return sorted(slot for slot in self.slots.slots_of(rows) if slot >= 0)


@dataclass(frozen=True)
class StoredVectors:
    """What `Vectors.take` is, from disk."""

    slots: RowsView
    kb: KnowledgeBase

    def take(self, slots: Slots) -> FloatArray:
        """float32 [len(slots), dim], in the order asked."""
        row_ids = self.slots.row_ids[slots]
        table = read_rows_at(self.kb, row_ids, [VECTOR_COLUMN])
        found = table[ROW_ID].to_numpy().astype(np.int64)
        order = np.argsort(found)
        vectors = vector_matrix(table[VECTOR_COLUMN])
        taken: FloatArray = vectors[order[np.searchsorted(found[order], row_ids)]]
        return taken


@dataclass(frozen=True)
class DiskView:
    """The index of one version; never changed, so that searches need no lock."""

    rows: StoredRows
    vectors: StoredVectors
    dense: DenseConfig

    def nearest(self, query: FloatArray, k: int, allowed: Allowed) -> Hits:
        """The top k allowed slots for float32 [dim], by the stored vectors' cosines."""
        wanted = min(k, allowed.count)
        if not wanted:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        slots = np.zeros(0, dtype=np.int64)
        if allowed.count > max(self.dense.filter_exact_chunks, k):
            share = allowed.count / len(self.rows)
            probes = self.dense.probe_share * lists_for(len(self.rows)) / math.sqrt(share)
            many = min(allowed.count, k * self.dense.pq_refine)
            slots = self._proposed(query, many, allowed, max(1, math.ceil(probes)))
        if len(slots) < wanted:
            slots = self._proposed(query, wanted, allowed, None)
        scores = self.vectors.take(slots).astype(np.float64) @ query.astype(np.float64)
        return best_of(slots, scores.astype(np.float32), k)

    def _proposed(self, query: FloatArray, k: int, allowed: Allowed, probes: int | None) -> Slots:
        row_ids = nearest_rows(self.rows.kb, query, k, allowed.rows, probes)
        slots = np.unique(np.array(self.rows.slots_of(row_ids.tolist()), dtype=np.int64))
        # A row that is not to be seen is never shown, whatever proposed it.
        seen: Slots = slots[[slot >= 0 and allowed.has(slot) for slot in slots.tolist()]]
        return seen


class DiskIndex(RowIndex):
    """Follows a knowledge base whose texts and vectors it does not hold."""

    kind = "disk"

    def __init__(self, kb: KnowledgeBase, dense: DenseConfig, shard: Shard = ALL) -> None:
        rows = shard.part_of(kb.read_chunks(_FILTER_COLUMNS))
        super().__init__(ordered_by_row_id(rows), (), shard)
        self.kb = kb.snapshot()
        """The version that it is of."""
        self._dense = dense

    def apply(self, delta: Delta) -> None:
        """Makes the index that of the delta's version."""
        self._apply(delta)
        self.kb = self.kb.at(delta.version)

    def view(self) -> DiskView:
        """The index of this version."""
        rows = self._rows.view()
        return DiskView(StoredRows(rows, self.kb), StoredVectors(rows, self.kb), self._dense)
