"""Documents to rows of the chunk table: cut, then embedded. No Ray in here."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_pipelines.chunking import TokenCounter, chunk_document
from data_pipelines.config import ChunkingConfig
from data_pipelines.known_vectors import KnownVectors, embedded_texts, text_key
from data_pipelines.schema import chunk_row_table, stored_hash, vector_array
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Document


class ChunkEmbedder(TokenCounter, Protocol):
    """What ingest needs of an embedder."""

    spec: EmbedderSpec

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32 [n, dim], L2-normalised."""
        ...


def chunk_documents(
    documents: Sequence[Document],
    content_hashes: Sequence[str],
    tokenizer: TokenCounter,
    config: ChunkingConfig,
) -> pa.Table:
    """Rows of all chunks of the documents, whose hashes the caller has, without embeddings."""
    return chunk_row_table(
        (
            document,
            stored_hash(content_hash, config.label),
            chunk_document(document, tokenizer, config.chunk_tokens, config.strategy),
        )
        for document, content_hash in zip(documents, content_hashes, strict=True)
    )


def embed_chunks(
    rows: pa.Table, embedder: ChunkEmbedder, known: KnownVectors | None = None
) -> pa.Table:
    """The rows with their embeddings appended; texts whose vector is known are not embedded."""
    known = known if known is not None else KnownVectors(embedder.spec.dim)
    texts = embedded_texts(rows)
    keys = [text_key(text) for text in texts]
    if missing := known.missing(keys):
        known.add([keys[i] for i in missing], embedder.embed([texts[i] for i in missing]))
    return rows.append_column("embedding", vector_array(known.take(keys)))
