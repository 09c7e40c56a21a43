"""Full-text search by row, restricted to rows before the top k are taken."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
from lance.dataset import serialize_row_addrs

from data_pipelines.kb_table import ROW_ID, SEARCH_COLUMN

RowHits = list[tuple[int, float]]
"""Row ids and scores, best first."""


def serialized_rows(row_ids: npt.NDArray[np.int64]) -> bytes:
    """A set of rows in the form that a search takes; worth keeping for the next search."""
    return serialize_row_addrs(row_ids.tolist())


def bm25_rows(dataset: Any, query: str, k: int, rows: bytes | None) -> RowHits:
    """The top k among `rows` (None: all); scores are those of the whole table."""
    words = " ".join(re.findall(r"\w+", query))
    if not words or k < 1:
        return []
    table = dataset.scanner(
        full_text_query={"query": words, "columns": [SEARCH_COLUMN]},
        columns=["_score"],
        with_row_id=True,
        limit=k,
        prefilter=True,
        row_addr_allowlist=rows,
    ).to_table()
    hits = zip(table[ROW_ID].to_pylist(), table["_score"].to_pylist(), strict=True)
    # Lance searches in parallel, so that equal scores come in any order.
    return sorted(hits, key=lambda hit: (-hit[1], hit[0]))
