"""What every kind of index knows of the chunks: which there are, and who may see which.

Chunks are kept by slot. A base never changes; what comes after it is added behind, and what is
replaced or removed is masked out.
"""

import functools
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_pipelines.chunk_rows import ChunkRows
from data_pipelines.filters import Mask, RowFilter, Where
from data_pipelines.kb_delta import Delta
from data_pipelines.kb_text_search import serialized_rows
from data_pipelines.sharding import ALL, Shard

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


class RowIndex:
    """Moves from version to version; for one thread at a time, its views for all."""

    def __init__(self, rows: pa.Table, columns: Sequence[str], shard: Shard = ALL) -> None:
        """Args: rows: ordered by row id, what is filtered by and `columns`, which are kept."""
        self._shard = shard
        self._rows = ChunkRows(rows, columns)
        self._filter = RowFilter()
        self._filter.append(rows)
        self._filters: OrderedDict[str, Allowed] = OrderedDict()

    @property
    def count(self) -> int:
        """Chunks of this version."""
        return self._rows.count

    @property
    def changes(self) -> int:
        """Chunks added, replaced or removed since the base."""
        return self._rows.changes

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

    def _apply(self, delta: Delta) -> pa.Table:
        """Makes the rows those of the delta's version; returns what it adds to this part."""
        upserted = self._shard.part_of(delta.upserted)
        self._rows.apply(upserted, delta.removed_row_ids)
        self._filter.append(upserted)
        self._filters.clear()
        return upserted

    def _allowed(self, where: Where | None, groups: Sequence[str]) -> Allowed:
        view = self._rows.view()
        passing = self._filter.mask(where, groups)
        mask = passing & view.alive
        count = int(mask.sum())
        every_row = count == self._rows.count and self._shard == ALL
        return Allowed(None if mask.all() else mask, count, None if every_row else view.row_ids)
