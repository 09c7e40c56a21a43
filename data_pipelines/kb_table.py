"""The Lance table under the knowledge base: where it is, how it is made, what its errors mean."""

import logging
import re
from collections.abc import Collection, Sequence
from typing import Any

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lance.dataset import serialize_row_addrs

from data_pipelines.schema import chunk_schema, embedded_text, stored_schema
from rayraft.errors import ArtifactMismatch
from rayraft.models.spec import EmbedderSpec

logger = logging.getLogger(__name__)

ROW_ID = "_rowid"
UPDATED_IN = "_row_last_updated_at_version"
"""Lance's own column: the version that last wrote the row."""
SEARCH_COLUMN = "search_text"


def kb_uri(store: str) -> str:
    """Where the Lance table of a store is."""
    return f"{str(store).rstrip('/')}/kb"


def sql_text(value: str) -> str:
    """`value` as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def check_embedder(stored: EmbedderSpec, given: EmbedderSpec, source: str) -> None:
    """Refuses to mix vectors of two embedders.

    Raises:
        ArtifactMismatch: They differ.
    """
    if stored != given:
        raise ArtifactMismatch(
            f"{source}: made with embedder {stored.name} {stored.digest[:12]}, "
            f"not {given.name} {given.digest[:12]}"
        )


def create_table(uri: str, spec: EmbedderSpec) -> None:
    """An empty table at `uri`, or the one that another process just created."""
    schema = stored_schema(spec)
    try:
        # Stable row ids make Lance keep the version in which each row last changed: the delta.
        lance.write_dataset(schema.empty_table(), uri, enable_stable_row_ids=True)
    except OSError as exc:
        if "already exists" not in str(exc):
            raise
        logger.info("another process created %s first", uri)


def stored_rows(chunks: pa.Table, spec: EmbedderSpec) -> pa.Table:
    """Chunks in `stored_schema`."""
    schema = stored_schema(spec)
    titles, texts = chunks["title"].to_pylist(), chunks["text"].to_pylist()
    searched = [embedded_text(*pair) for pair in zip(titles, texts, strict=True)]
    rows = chunks.select(chunk_schema(spec.dim).names)
    return rows.append_column(SEARCH_COLUMN, pa.array(searched, pa.string())).cast(schema)


def merge_rows(dataset: Any, rows: pa.Table, replaced: Collection[str]) -> bool:
    """One version with `rows` instead of all chunks of the documents `replaced`.

    False if another writer committed first; nothing was changed then.
    """
    merge = dataset.merge_insert("chunk_id").conflict_retries(0)
    merge = merge.when_matched_update_all().when_not_matched_insert_all()
    if replaced:
        listed = ",".join(sql_text(document_id) for document_id in sorted(replaced))
        merge = merge.when_not_matched_by_source_delete(f"document_id IN ({listed})")
    try:
        merge.execute(rows)
    except OSError as exc:
        if not _is_conflict(exc):
            raise
        logger.info("commit lost against another writer: %s", exc)
        return False
    return True


def update_index(dataset: Any) -> None:
    """Brings the full-text index up to the data, unless another writer commits meanwhile.

    Then its own update, or that of the next writer, covers the rest.
    """
    try:
        dataset.optimize.optimize_indices()
    except OSError as exc:
        if not _is_conflict(exc):
            raise
        logger.info("index update left to another writer: %s", exc)


def rows_condition(row_ids: npt.NDArray[np.int64]) -> str:
    """SQL condition that holds for these rows alone."""
    return f"{ROW_ID} IN ({','.join(map(str, row_ids.tolist()))})" if len(row_ids) else "false"


def bm25(
    dataset: Any, query: str, k: int, where: str | None, row_ids: Sequence[int] | None
) -> list[tuple[str, float]]:
    """Chunk ids and scores of the top k among `row_ids` (None: all) where `where` holds."""
    words = " ".join(re.findall(r"\w+", query))
    if not words or k < 1 or (row_ids is not None and not row_ids):
        return []
    table = dataset.scanner(
        full_text_query={"query": words, "columns": [SEARCH_COLUMN]},
        columns=["chunk_id", "_score"],
        limit=k,
        filter=where,
        prefilter=True,
        row_addr_allowlist=None if row_ids is None else serialize_row_addrs(row_ids),
    ).to_table()
    hits = zip(table["chunk_id"].to_pylist(), table["_score"].to_pylist(), strict=True)
    return sorted(hits, key=lambda hit: (-hit[1], hit[0]))


def _is_conflict(error: OSError) -> bool:
    # Lance has no type of its own for it.
    return any(word in str(error).lower() for word in ("concurrent", "conflict"))
