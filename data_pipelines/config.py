"""Configuration of the ingest job and of retrieval."""

from typing import Literal, get_args

from pydantic import Field

from rayraft.config import Config
from rayraft.fusion import RRF_K

Strategy = Literal["heading", "sentence", "fixed"]
IndexKind = Literal["auto", "exact", "hnsw", "ivfpq", "disk"]
HnswCodes = Literal["bf16", "8bit"]
FusionKind = Literal["rrf", "weighted"]


class ChunkingConfig(Config):
    """How documents are cut."""

    chunk_tokens: int = Field(default=160, ge=16, le=240)
    """Most tokens of the embedder in a chunk; the title is embedded on top of them."""
    strategy: Strategy = "heading"
    """Where a chunk may end: `heading` prefers headings, then paragraphs, then sentences;
    `sentence` fills chunks with whole sentences; `fixed` with words. Tables stay whole if they
    fit."""

    @property
    def label(self) -> str:
        """These settings in a few letters; part of each document's `document_hash`."""
        if self.strategy == "heading":
            return str(self.chunk_tokens)
        return f"{self.chunk_tokens}-{self.strategy}"

    @classmethod
    def of_label(cls, label: str) -> "ChunkingConfig":
        """The settings that a label names; the defaults for any other text."""
        tokens, _, strategy = label.partition("-")
        if not tokens.isdigit() or strategy not in ("", *get_args(Strategy)):
            return cls()
        return cls.model_validate({"chunk_tokens": int(tokens), "strategy": strategy or "heading"})


class EmbeddingConfig(Config):
    """How chunks are embedded."""

    embedder: str | None = None
    """Name of the embedder; null for the one the store was made with, `minilm` in a new store."""
    actors: int | None = Field(default=None, ge=1)
    """Embedding actors that run at the same time; null for as many as the cluster has CPUs for."""
    threads: int = Field(default=1, ge=1)
    """Torch threads, and Ray CPUs, of each actor."""
    batch_chunks: int = Field(default=256, ge=1)
    """Chunks handed to an actor at once; inside, they are batched by length."""
    in_process_chunks: int = Field(default=512, ge=0)
    """Up to so many chunks are embedded in the command's own process: that is done before Ray's
    actors have loaded the model."""


class ReadingConfig(Config):
    """How files are read."""

    max_file_mb: int = Field(default=256, ge=1)
    """Larger files go to quarantine."""
    max_pages: int = Field(default=5000, ge=1)
    """Pages of a PDF, slides of a PPTX, sheets of an XLSX."""
    max_unpacked_mb: int = Field(default=1024, ge=1)
    """Of a ZIP file, and of the formats that are one: DOCX, PPTX, XLSX, EPUB."""
    max_ratio: int = Field(default=200, ge=1)
    """How tightly a megabyte or more may be packed in one."""
    max_members: int = Field(default=10_000, ge=1)
    """Files in a ZIP file."""
    max_nesting: int = Field(default=3, ge=0)
    """Archives in archives, mails in mails."""
    timeout_s: float = Field(default=120, gt=0)
    """For the conversion of one document, which runs in a process of its own."""
    private_urls: bool = False
    """Whether web pages at private addresses may be read: those of an intranet."""
    max_memory_mb: int = Field(default=4096, ge=1024)
    """Address space of that process."""
    files_per_task: int = Field(default=4, ge=1)
    """Files that one reading task takes."""
    in_process_mb: float = Field(default=32, ge=0)
    """Up to so many megabytes are read in the command's own process, without Ray; a byte of what
    has to be converted counts as 20."""


class SyncConfig(Config):
    """What `--sync` may delete."""

    max_removed_share: float = Field(default=0.2, ge=0, le=1)
    """A run that would remove a larger share of the stored documents stops and removes nothing:
    a wrong path or a disk that is not mounted must not empty the store."""


class IngestConfig(Config):
    """The whole ingest job."""

    reading: ReadingConfig = ReadingConfig()
    chunking: ChunkingConfig = ChunkingConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    sync: SyncConfig = SyncConfig()


class DenseConfig(Config):
    """How vectors are searched."""

    exact_chunks: int = Field(default=50_000, ge=0)
    """`index=auto` searches up to so many chunks exactly,"""
    hnsw_chunks: int = Field(default=2_000_000, ge=0)
    """up to so many by HNSW, and more by IVF-PQ, which needs less memory."""
    refine: int = Field(default=2, ge=1, le=100)
    """HNSW proposes so many times k; their stored vectors decide."""
    pq_refine: int = Field(default=10, ge=1, le=1000)
    """IVF-PQ, which is coarser, proposes so many times k."""
    ef_search: int = Field(default=64, ge=1)
    """HNSW: breadth of a search; more finds more and takes longer."""
    ef_construction: int = Field(default=120, ge=8)
    """HNSW: breadth of a search while the index is built."""
    hnsw_links: int = Field(default=24, ge=2, le=128)
    """HNSW: links of a vector; each takes 8 bytes."""
    hnsw_codes: HnswCodes = "bf16"
    """HNSW: what a vector is kept as in the graph; `8bit` takes half the memory of `bf16`
    and needs a greater `ef_search` where vectors lie close."""
    probe_share: float = Field(default=0.03, gt=0, le=1)
    """IVF-PQ: share of the lists that a search reads."""
    filter_exact_chunks: int = Field(default=10_000, ge=0)
    """Where a filter lets so few chunks pass, they are searched exactly, unless HNSW is quicker."""
    rebuild_share: float = Field(default=0.2, gt=0, le=1)
    """The index is built anew when chunks added, changed or removed since pass this share."""
    snapshot_chunks: int = Field(default=20_000, ge=0)
    """From so many chunks on a service keeps its index in the store, for the next start."""


class RetrievalConfig(Config):
    """How the two searches are done and combined."""

    index: IndexKind = "auto"
    """Dense search: `exact`, `hnsw`, `ivfpq`, or `auto`, which chooses one of them by the number of
    chunks; `disk` leaves texts and vectors in the store, for more of them than memory holds."""
    dense: DenseConfig = DenseConfig()
    """Numbers of the dense index."""
    candidates: int = Field(default=50, ge=1, le=1000)
    """Chunks taken from each search before fusion; at least `k` are taken."""
    fusion: FusionKind = "rrf"
    """`rrf` fuses by the places in both lists, `weighted` by scores scaled to 0..1."""
    rrf_k: int = Field(default=RRF_K, ge=1)
    """Damping constant of reciprocal rank fusion."""
    dense_weight: float = Field(default=1.0, ge=0)
    """Weight of the dense list in the fusion."""
    sparse_weight: float = Field(default=1.0, ge=0)
    """Weight of the BM25 list in the fusion."""
    rerank: int = Field(default=0, ge=0, le=1000)
    """How many of the fused list a reranker puts into a new order; 0 leaves the fused one."""
    reranker: str = Field(default="mini-reranker", min_length=1)
    """`mini-reranker`, one that was trained here (`name-vN`), a folder, or a cross-encoder of the
    hub."""
    diversity: float = Field(default=0, ge=0, le=1)
    """Hybrid: how much a passage loses by being like those before it (MMR); 0 leaves the order."""
    neighbours: int = Field(default=0, ge=0, le=8)
    """So many chunks before and after each hit follow it, beyond the k asked for."""
