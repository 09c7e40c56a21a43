"""The chunks' texts in memory or in a memory map, by slot, by Lance row id and by chunk id.

Slots are only added: a row that changes gets a new slot, and views taken before still see the old.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.filters import Mask
from data_pipelines.kb_table import ROW_ID, UPDATED_IN
from data_pipelines.vectors import Slots

PASSAGE_COLUMNS = [
    *("chunk_id", "document_id", "title", "text", "start", "end", "metadata"),
    UPDATED_IN,
]
_MOST_BATCHES = 64  # a delta is a batch; taking rows from very many is slow


@dataclass(frozen=True)
class RowsView:
    """The rows of one version; never changed."""

    batches: tuple[pa.RecordBatch, ...]
    starts: Slots
    """First slot of each batch."""
    row_ids: npt.NDArray[np.int64]
    alive: Mask
    """Bool [n_slots]: not replaced or removed since."""
    base_rows: int
    later: dict[int, list[int]]
    """Row id to its slots behind the base; may hold later ones than this view's."""

    def __len__(self) -> int:
        return len(self.row_ids)

    def slots_of(self, row_ids: Sequence[int]) -> list[int]:
        """The slot of each row in this version; -1 where it has none."""
        ids = np.array(row_ids, dtype=np.int64)
        base = self.row_ids[: self.base_rows]
        places = np.searchsorted(base, ids)
        found = []
        for row_id, place in zip(row_ids, places.tolist(), strict=True):
            slots = [s for s in self.later.get(row_id, ()) if s < len(self) and self.alive[s]]
            if place < self.base_rows and base[place] == row_id and self.alive[place]:
                slots.append(place)
            found.append(slots[0] if slots else -1)
        return found

    def passages(self, slots: Sequence[int]) -> list[dict[str, Any]]:
        """The chunks at these slots as fields of `Passage`, in the order asked."""
        asked = np.array(slots, dtype=np.int64)
        batches = np.searchsorted(self.starts, asked, side="right") - 1
        rows: dict[int, dict[str, Any]] = {}
        for number in np.unique(batches).tolist():
            wanted = asked[batches == number]
            taken = self.batches[number].take(pa.array(wanted - self.starts[number]))
            rows |= zip(wanted.tolist(), taken.to_pylist(), strict=True)
        return [passage_fields(rows[slot]) for slot in asked.tolist()]

    def slots_with(self, column: str, values: Collection[str]) -> list[int]:
        """The slots of this version whose `column` has one of the values, in order."""
        wanted = pa.array(sorted(values), pa.string())
        found: list[int] = []
        for start, batch in zip(self.starts.tolist(), self.batches, strict=True):
            passing = pc.is_in(batch.column(column), value_set=wanted)
            slots = start + np.flatnonzero(passing.to_numpy(zero_copy_only=False))
            found += slots[self.alive[slots]].tolist()
        return found


class ChunkRows:
    """Adds and removes rows; `view` is what they are now."""

    def __init__(self, base: pa.Table, columns: Sequence[str] = PASSAGE_COLUMNS) -> None:
        """Args: base: `ROW_ID` and the `columns` that are kept, ordered by row id."""
        self._columns = list(columns)
        self._batches = self._kept(base)
        self._base_batches = len(self._batches)
        self._row_ids = base[ROW_ID].to_numpy().astype(np.int64)
        self._base_rows = base.num_rows
        self._alive = np.ones(base.num_rows, dtype=np.bool_)
        self._later: dict[int, list[int]] = {}
        self._dead = 0

    @property
    def changes(self) -> int:
        """Rows added, replaced or removed since the base."""
        return int(len(self._row_ids) - self._base_rows + self._dead)

    @property
    def count(self) -> int:
        """Rows of this version."""
        return int(len(self._row_ids) - self._dead)

    def apply(self, upserted: pa.Table, removed_row_ids: npt.NDArray[np.int64]) -> None:
        """Moves to the next version."""
        new_ids = upserted[ROW_ID].to_numpy().astype(np.int64)
        outdated = np.concatenate([np.asarray(removed_row_ids, dtype=np.int64), new_ids])
        slots = [slot for slot in self.view().slots_of(outdated.tolist()) if slot >= 0]
        first = len(self._row_ids)
        alive = np.concatenate([self._alive, np.ones(len(new_ids), dtype=np.bool_)])
        alive[slots] = False
        for slot, row_id in enumerate(new_ids.tolist(), start=first):
            self._later.setdefault(row_id, []).append(slot)
        self._alive = alive
        self._dead += len(slots)
        self._row_ids = np.concatenate([self._row_ids, new_ids])
        self._add(upserted)

    def view(self) -> RowsView:
        """The rows of this version."""
        sizes = [batch.num_rows for batch in self._batches]
        starts = np.cumsum([0, *sizes[:-1]]) if sizes else np.zeros(0, dtype=np.int64)
        return RowsView(
            tuple(self._batches), starts, self._row_ids, self._alive, self._base_rows, self._later
        )

    def _add(self, rows: pa.Table) -> None:
        batches = [*self._batches, *self._kept(rows)]
        if len(batches) > self._base_batches + _MOST_BATCHES:
            late = pa.Table.from_batches(batches[self._base_batches :])
            batches[self._base_batches :] = _batches(late)
        self._batches = batches

    def _kept(self, rows: pa.Table) -> list[pa.RecordBatch]:
        return _batches(rows.select(self._columns)) if self._columns else []


def ordered_by_row_id(rows: pa.Table) -> pa.Table:
    """The rows as `ChunkRows` wants them."""
    ids = rows[ROW_ID].to_numpy()
    if (ids[1:] > ids[:-1]).all():
        return rows
    return rows.take(pa.array(np.argsort(ids, kind="stable")))


def _batches(texts: pa.Table) -> list[pa.RecordBatch]:
    # One batch a million rows: its texts must stay below 2 GiB.
    pieces = [texts.slice(at, 1_000_000) for at in range(0, texts.num_rows, 1_000_000)]
    return [batch for piece in pieces for batch in piece.combine_chunks().to_batches()]


def passage_fields(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `PASSAGE_COLUMNS` as fields of `Passage`."""
    fields = dict(row)
    fields["metadata"] = json.loads(fields["metadata"])
    fields["updated_in"] = fields.pop(UPDATED_IN)
    return fields
