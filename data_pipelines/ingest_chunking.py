"""The ingest job's second stage: rows of documents to rows of chunks. No Ray, no torch."""

import pyarrow as pa

from data_pipelines.config import ChunkingConfig
from data_pipelines.embedders import load_tokenizer
from data_pipelines.embedding import chunk_documents
from rayraft.records import Document


def chunk_batch(batch: pa.Table, embedder: str, config: ChunkingConfig) -> pa.Table:
    """Chunk rows of the batch's documents, with the number of their tokens."""
    documents = [Document.model_validate_json(text) for text in batch["document"].to_pylist()]
    tokenizer = load_tokenizer(embedder)
    hashes = batch["content_hash"].to_pylist()
    rows = chunk_documents(documents, hashes, tokenizer, config)
    tokens = tokenizer.count_tokens(rows["text"].to_pylist())
    return rows.append_column("tokens", pa.array(tokens, pa.int64()))
