"""Lance's own vector index over the chunk table: vectors are found and read where they are stored.

Rows that came after the index was built are searched one by one by Lance, until it catches up.
"""

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import (
    ROW_ID,
    index_named,
    left_to_others,
    unindexed_rows,
    update_index,
)
from data_pipelines.kb_text_search import serialized_rows
from data_pipelines.vectors import FloatArray, Slots

VECTOR_COLUMN = "embedding"
_INDEX = "vectors"
_LEAST_ROWS_PER_LIST = 256  # Lance joins shorter lists
_MOST_ROWS_PER_LIST = 16_384  # with more, reading a list takes long: more lists are worth a build

# Statistics would carry the centroids, megabytes of JSON, to whoever asks for the lag.
os.environ.setdefault("LANCE_INCLUDE_VECTOR_CENTROIDS", "false")


def nearest_rows(
    kb: KnowledgeBase, query: FloatArray, k: int, rows: bytes | None, probes: int | None
) -> Slots:
    """Row ids of about the k nearest, best first, among `serialized_rows` (None: all).

    Args:
        kb: Where to search.
        query: float32 [dim], L2-normalised.
        k: At most so many.
        rows: What may be returned.
        probes: Lists of the index that are read at least; None reads every vector instead.
    """
    how = {"use_index": False} if probes is None else {"minimum_nprobes": probes}
    asked: dict[str, Any] = {"column": VECTOR_COLUMN, "q": query, "k": k, "metric": "l2", **how}
    table = (
        kb.table()
        .scanner(
            columns=["_distance"],
            nearest=asked,
            with_row_id=True,
            prefilter=True,
            row_addr_allowlist=rows,
        )
        .to_table()
    )
    found: Slots = table[ROW_ID].to_numpy().astype(np.int64)
    return found


def read_rows_at(kb: KnowledgeBase, row_ids: npt.NDArray[np.int64], columns: list[str]) -> pa.Table:
    """The columns and `ROW_ID` of some rows, in no order; only those rows are read."""
    allowed = serialized_rows(np.sort(row_ids))
    scanner = kb.table().scanner(columns=columns, with_row_id=True, row_addr_allowlist=allowed)
    return scanner.to_table()


def lists_for(rows: int) -> int:
    """Lists of an index over so many rows."""
    return max(1, min(int(2 * math.sqrt(rows)), rows // _LEAST_ROWS_PER_LIST))


def vector_lag(kb: KnowledgeBase) -> int | None:
    """Rows that the index does not hold; None where there is none, or it is outgrown."""
    table = kb.table()
    name = index_named(table, VECTOR_COLUMN)
    if name is None:
        return None
    lists = sum(part["num_partitions"] for part in table.stats.index_stats(name)["indices"])
    if kb.count_chunks() > _MOST_ROWS_PER_LIST * lists:
        return None
    return unindexed_rows(table, VECTOR_COLUMN)


def bring_up(kb: KnowledgeBase) -> None:
    """Builds the index, or adds to it what it lacks: a version of its own, as every commit is."""
    writer = kb.writer()
    if vector_lag(kb) is not None:
        update_index(writer, VECTOR_COLUMN)
        return
    dim = kb.embedder.dim
    pieces = next(pieces for pieces in (dim // 8, dim // 4, dim // 2, 1) if pieces)
    with left_to_others("making of the vector index"):
        writer.create_index(
            VECTOR_COLUMN,
            "IVF_PQ",
            name=_INDEX,
            metric="l2",  # of normalised vectors: the order of their cosines
            num_partitions=lists_for(kb.count_chunks()),
            num_sub_vectors=pieces if dim % pieces == 0 else 1,
            replace=True,
        )
