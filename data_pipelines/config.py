"""Configuration of the ingest job and of retrieval."""

from pydantic import Field

from rayraft.config import Config
from rayraft.fusion import RRF_K


class ChunkingConfig(Config):
    """How documents are cut."""

    chunk_tokens: int = Field(default=160, ge=16, le=240)
    """Most tokens of the embedder in a chunk; the title is embedded on top of them."""


class EmbeddingConfig(Config):
    """How chunks are embedded."""

    embedder: str = "minilm"
    """Name of the embedder; a store keeps the one it was made with."""
    actors: int | None = Field(default=None, ge=1)
    """Embedding actors that run at the same time; null for as many as the cluster has CPUs for."""
    threads: int = Field(default=1, ge=1)
    """Torch threads, and Ray CPUs, of each actor."""
    batch_chunks: int = Field(default=256, ge=1)
    """Chunks handed to an actor at once; inside, they are batched by length."""


class ReadingConfig(Config):
    """How files are read."""

    max_file_mb: int = Field(default=256, ge=1)
    """Larger files go to quarantine."""
    files_per_task: int = Field(default=4, ge=1)
    """Files that one reading task takes."""


class IngestConfig(Config):
    """The whole ingest job."""

    reading: ReadingConfig = ReadingConfig()
    chunking: ChunkingConfig = ChunkingConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()


class RetrievalConfig(Config):
    """How the two searches are combined."""

    candidates: int = Field(default=50, ge=1, le=1000)
    """Chunks taken from each search before fusion; at least `k` are taken."""
    rrf_k: int = Field(default=RRF_K, ge=1)
    """Damping constant of reciprocal rank fusion."""
    dense_weight: float = Field(default=1.0, ge=0)
    """Weight of the dense list in the fusion."""
    sparse_weight: float = Field(default=1.0, ge=0)
    """Weight of the BM25 list in the fusion."""
    rerank: int = Field(default=0, ge=0, le=1000)
    """How many of the fused list a reranker puts into a new order; 0 leaves the fused one."""
    reranker: str = Field(default="mini-reranker", min_length=1)
    """`mini-reranker`, a folder, or a cross-encoder of the hub."""
