"""The Lance table under the knowledge base: where it is, how it is made, what its errors mean."""

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.new_table import create_once
from data_pipelines.schema import chunk_schema, embedded_text, stored_schema
from data_pipelines.stores import store_uri
from rayraft.errors import ArtifactMismatch, InputError, NotFoundError
from rayraft.models.spec import EmbedderSpec

logger = logging.getLogger(__name__)

ROW_ID = "_rowid"
UPDATED_IN = "_row_last_updated_at_version"
"""Lance's own column: the version that last wrote the row."""
SEARCH_COLUMN = "search_text"
_MOST_LISTED = 1000
"""Document ids in a condition; for more, reading all ids is faster than comparing with each."""
_LANCE_SOURCE = re.compile(r", \S+\.rs:\d+(?::\d+)?")


def kb_uri(store: str) -> str:
    """Where the Lance table of a store is."""
    return f"{store_uri(store)}/kb"


def open_table(store: str, version: int | None = None) -> Any:
    """The Lance table of a store, at its latest version or an older one.

    Raises:
        NotFoundError: There is none, or not this version of it.
        InputError: The store cannot be opened.
    """
    try:
        return lance.dataset(kb_uri(store), version=version)
    except (ValueError, OSError) as exc:
        if "not found" not in str(exc):
            raise _not_opened(store, exc) from exc
        if version is None:
            raise NotFoundError(f"no knowledge base in {store}; run ingest first") from exc
        raise NotFoundError(f"{store}: no knowledge base version {version}") from exc


def sql_text(value: str) -> str:
    """`value` as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def check_embedder(stored: EmbedderSpec, given: EmbedderSpec, source: str) -> None:
    """Refuses to mix vectors of two embedders; two names of the same one are none.

    Raises:
        ArtifactMismatch: They differ.
    """
    if (stored.digest, stored.dim) != (given.digest, given.dim):
        raise ArtifactMismatch(
            f"{source}: made with embedder {stored.name} {stored.digest[:12]}, "
            f"not {given.name} {given.digest[:12]}"
        )


def create_table(store: str, spec: EmbedderSpec) -> None:
    """An empty table in `store`, or the one that another process just created.

    Raises:
        InputError: The store cannot be made.
    """
    try:
        # Stable row ids make Lance keep the version in which each row last changed: the delta.
        create_once(kb_uri(store), stored_schema(spec), stable_row_ids=True)
    except OSError as exc:
        raise _not_opened(store, exc) from exc


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
        merge = merge.when_not_matched_by_source_delete(documents_condition(replaced))
    try:
        merge.execute(rows)
    except OSError as exc:
        if not is_conflict(exc):
            raise
        logger.info("commit lost against another writer: %s", exc)
        return False
    return True


def index_named(dataset: Any, column: str) -> str | None:
    """Name of the index over a column; None where there is none."""
    named = [one.name for one in dataset.describe_indices() if column in one.field_names]
    return str(named[0]) if named else None


def unindexed_rows(dataset: Any, column: str) -> int:
    """Rows that the index over a column does not hold; all of them where there is none."""
    name = index_named(dataset, column)
    if name is None:
        return int(dataset.count_rows())
    return int(dataset.stats.index_stats(name)["num_unindexed_rows"])


def create_search_index(dataset: Any) -> None:
    """The index of the text search; one that is there is made anew."""
    dataset.create_scalar_index(SEARCH_COLUMN, "INVERTED", with_position=False)


def begin_search_index(dataset: Any) -> None:
    """The index of the text search, unless another process is making it."""
    with left_to_others("making of the text index"):
        create_search_index(dataset)


def update_index(dataset: Any, column: str = SEARCH_COLUMN) -> None:
    """Brings the index over a column up to the data, unless another writer commits meanwhile.

    Then its own update, or that of the next writer, covers the rest.
    """
    with left_to_others("index update"):
        dataset.optimize.optimize_indices(index_names=[index_named(dataset, column)])


@contextmanager
def left_to_others(what: str) -> Iterator[None]:
    """Inside, a commit that another writer's is ahead of ends the work without an error."""
    try:
        yield
    except OSError as exc:
        if not is_conflict(exc):
            raise
        logger.info("%s left to another writer: %s", what, exc)


def read_rows(dataset: Any, columns: Sequence[str], where: str | None = None) -> pa.Table:
    """The columns, of which `ROW_ID` may be one, of the rows where `where` holds."""
    names = [name for name in columns if name != ROW_ID]
    return dataset.to_table(columns=names, filter=where, with_row_id=len(names) < len(columns))


def rows_of(
    dataset: Any, columns: Sequence[str], document_ids: Collection[str], where: str = "true"
) -> pa.Table:
    """The columns, with `document_id` among them, of the rows of documents where `where` holds."""
    few = len(document_ids) <= _MOST_LISTED
    condition = f"{where} AND {documents_condition(document_ids)}" if few else where
    table = read_rows(dataset, columns, condition)
    wanted = pa.array(sorted(document_ids), pa.string())
    return table.filter(pc.is_in(table["document_id"], wanted))


def bm25(dataset: Any, query: str, k: int, where: str | None) -> list[tuple[str, float]]:
    """Chunk ids and scores of the top k where `where` holds."""
    words = " ".join(re.findall(r"\w+", query))
    if not words or k < 1:
        return []
    table = dataset.scanner(
        full_text_query={"query": words, "columns": [SEARCH_COLUMN]},
        columns=["chunk_id", "_score"],
        limit=k,
        filter=where,
        prefilter=True,
    ).to_table()
    hits = zip(table["chunk_id"].to_pylist(), table["_score"].to_pylist(), strict=True)
    return sorted(hits, key=lambda hit: (-hit[1], hit[0]))


def documents_condition(document_ids: Iterable[str]) -> str:
    """SQL condition that holds for the chunks of these documents alone."""
    listed = ",".join(sql_text(document_id) for document_id in sorted(document_ids))
    return f"document_id IN ({listed})" if listed else "false"


def _not_opened(store: str, error: Exception) -> InputError:
    # Lance adds the place in its own source.
    line = _LANCE_SOURCE.sub("", str(error).partition("\n")[0])
    return InputError(f"store {store!r}: {line}")


def is_conflict(error: OSError) -> bool:
    """Whether a commit failed because another writer was first."""
    # Lance has no type of its own for it.
    return any(word in str(error).lower() for word in ("concurrent", "conflict"))
