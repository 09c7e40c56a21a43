"""Configuration of the ingest job."""

from pydantic import Field

from rayraft.config import Config


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
