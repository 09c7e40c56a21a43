"""What changed between two versions of the chunk table, by Lance's row ids and row versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_pipelines.kb_table import ROW_ID, UPDATED_IN, read_rows


@dataclass(frozen=True)
class Delta:
    """What changed after an older version; apply removals and upserts by `chunk_id`."""

    version: int
    """The version that the delta leads to."""
    upserted: pa.Table
    """Chunks added or replaced, with their embeddings and Lance row ids (`_rowid`)."""
    removed_chunk_ids: list[str]
    """Chunks that exist no longer."""
    removed_row_ids: npt.NDArray[np.int64]
    """int64: the rows that exist no longer, those of chunks that came back as new rows among them.
    """


def table_delta(older: Any, newer: Any, columns: Sequence[str]) -> Delta:
    """The way from one version of the table to another, with these columns of what it brings."""
    removed = np.setdiff1d(_row_ids(older), _row_ids(newer), assume_unique=True)
    upserted = read_rows(newer, [*columns, UPDATED_IN, ROW_ID], f"{UPDATED_IN} > {older.version}")
    gone = read_rows(older, ["chunk_id"], _rows_condition(removed))["chunk_id"].to_pylist()
    # A document that was removed and came back has new rows under its old chunk ids.
    still_there = set(upserted["chunk_id"].to_pylist())
    return Delta(int(newer.version), upserted, sorted(set(gone) - still_there), removed)


def _row_ids(dataset: Any) -> npt.NDArray[np.int64]:
    # int64 [n_chunks]; Lance keeps a row's id over versions while the row exists.
    table = dataset.to_table(columns=[], with_row_id=True)
    ids: npt.NDArray[np.int64] = table[ROW_ID].to_numpy().astype(np.int64)
    return ids


def _rows_condition(row_ids: npt.NDArray[np.int64]) -> str:
    return f"{ROW_ID} IN ({','.join(map(str, row_ids.tolist()))})" if len(row_ids) else "false"
