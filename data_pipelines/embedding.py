"""Documents to rows of the chunk table: cut, then embedded. No Ray in here."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_pipelines.chunking import TokenCounter, chunk_document
from data_pipelines.schema import chunk_row_table, embedded_text, stored_hash, vector_array
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
    chunk_tokens: int,
) -> pa.Table:
    """Rows of all chunks of the documents, whose hashes the caller has, without embeddings."""
    return chunk_row_table(
        (
            document,
            stored_hash(content_hash, chunk_tokens),
            chunk_document(document, tokenizer, chunk_tokens),
        )
        for document, content_hash in zip(documents, content_hashes, strict=True)
    )


def embed_chunks(rows: pa.Table, embedder: ChunkEmbedder) -> pa.Table:
    """The rows with their embeddings appended."""
    titles, texts = rows["title"].to_pylist(), rows["text"].to_pylist()
    embedded = [embedded_text(*pair) for pair in zip(titles, texts, strict=True)]
    return rows.append_column("embedding", vector_array(embedder.embed(embedded)))
