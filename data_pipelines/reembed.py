"""The knowledge base with another embedder: made beside the old one, switched by one commit.

Until that commit nothing of the store changes, and services answer as before; after it they open
embedder and index of the new version beside those in use, and switch (`serve/generations.py`).
Older versions keep the old embedder's vectors, so a store never mixes two in one version.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lance
import pyarrow as pa

from data_pipelines.config import EmbeddingConfig
from data_pipelines.embedders import embedder_source, load_tokenizer, named
from data_pipelines.embedding_staging import StagedVectors
from data_pipelines.kb import COMMIT_ATTEMPTS, KnowledgeBase
from data_pipelines.kb_table import is_conflict, kb_uri, open_table, stored_rows
from data_pipelines.known_vectors import KnownVectors, embedded_texts
from data_pipelines.progress import Advance, no_progress
from data_pipelines.schema import chunk_schema, vector_array
from data_pipelines.vector_making import VectorMaker
from rayraft.errors import ConcurrentWrite


@dataclass(frozen=True)
class Reembedded:
    """What was done."""

    kb_version: int
    chunks: int
    cut_off: int
    """Chunks that have more tokens than the new embedder sees; their end counts for nothing."""


def reembed(
    store: str,
    embedder: str,
    settings: EmbeddingConfig | None = None,
    advance: Advance = no_progress,
    start_ray: Callable[[], None] = lambda: None,
) -> Reembedded:
    """Embeds all chunks with another embedder; a killed run goes on where it was.

    What others write meanwhile is embedded, too; if they have the last word eight times, it ends.

    Args:
        store: Folder or URI of the store.
        embedder: Name of the new one: `minilm`, a folder, or `name-vN` of the store.
        settings: How it is run.
        advance: Called with the number of chunks embedded and the number to embed.
        start_ray: Called before Ray is used.

    Raises:
        ConcurrentWrite: Other writers kept committing first; the vectors are kept for a next run.
    """
    source = embedder_source(store, embedder)
    tokenizer = load_tokenizer(source)
    spec = named(tokenizer.spec, embedder)
    staged = StagedVectors(store, spec)
    known = KnownVectors(spec.dim)
    staged.load(known)
    maker = VectorMaker(source, settings or EmbeddingConfig(), staged, advance, start_ray)
    kb = KnowledgeBase.open(store)
    for _ in range(COMMIT_ATTEMPTS):
        kb.checkout_latest()
        if kb.embedder == spec:
            return Reembedded(kb.version, 0, 0)
        columns = [name for name in chunk_schema(spec.dim).names if name != "embedding"]
        rows = kb.read_chunks(columns)
        texts = embedded_texts(rows)
        embedded = rows.append_column("embedding", vector_array(maker.vectors(texts, known)))
        if _switch(store, kb.version, stored_rows(embedded, spec)):
            cut_off = int((tokenizer.count_tokens(texts) > spec.max_tokens - 2).sum())
            KnowledgeBase.create_or_open(store, spec)  # makes the full-text index
            staged.clear()
            return Reembedded(KnowledgeBase.open(store).version, rows.num_rows, cut_off)
    raise ConcurrentWrite(f"{store}: other writers committed first, {COMMIT_ATTEMPTS} times")


def _switch(store: str, version: int, table: pa.Table) -> bool:
    """One commit after `version` with these rows; False if another writer was first."""
    uri = kb_uri(store)
    fragments = lance.fragment.write_fragments(table, uri, mode="overwrite", schema=table.schema)
    operation: Any = lance.LanceOperation.Overwrite(table.schema, fragments)
    try:
        lance.LanceDataset.commit(uri, operation, read_version=version, max_retries=0)
    except OSError as exc:
        if not is_conflict(exc):
            raise
        return False
    return bool(open_table(store).version > version)
