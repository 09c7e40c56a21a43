"""The ingest job on Ray Data: read -> drop unchanged -> chunk -> embed -> one atomic commit.

Nothing but the commit touches the knowledge base, so a job that is killed leaves the last version
as it was, and the next run does what was left.
"""

import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from data_pipelines.config import IngestConfig
from data_pipelines.embedding import chunk_documents, embed_chunks
from data_pipelines.ingest import Plan, commit_rows, plan_ingest
from data_pipelines.ingest_reading import read_documents, read_summary
from data_pipelines.kb import KnowledgeBase
from data_pipelines.progress import Advance, no_progress
from data_pipelines.quarantine import Rejected, write_quarantine
from data_pipelines.resources import count_actors
from data_pipelines.sources import find_files
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.records import Document

logger = logging.getLogger(__name__)

_BLOCKS_PER_ACTOR = 8
_MAX_BLOCK_DOCUMENTS = 64
"""A chunking task takes one block of documents: at most so many, fewer in a small job."""


@dataclass(frozen=True)
class IngestReport:
    """What a run did."""

    added: int
    changed: int
    unchanged: int
    rejected: list[Rejected]
    """What went to quarantine, with the reasons."""
    skipped: int
    """Files with an unknown extension."""
    chunks: int
    tokens: int
    seconds: float
    embed_seconds: float
    """Of `seconds`, those in which chunks were made and embedded."""
    kb_version: int

    @property
    def quarantined(self) -> int:
        """Number of documents that went to quarantine."""
        return len(self.rejected)

    @property
    def tokens_per_s(self) -> float:
        """Embedded tokens per second of chunking and embedding; 0 if there was nothing to do."""
        return self.tokens / self.embed_seconds if self.tokens else 0.0


def run_ingest(
    paths: Sequence[str],
    store: str,
    config: IngestConfig,
    advance: Advance = no_progress,
) -> IngestReport:
    """Reads files and folders into the store's knowledge base, in one new version or none.

    Ray must be running.

    Args:
        paths: Files and folders.
        store: Folder or URI of the store.
        config: The job's configuration.
        advance: Called with the number of documents embedded and the number to embed.

    Raises:
        InputError: A path does not exist or holds nothing to read.
        ArtifactMismatch: The store was made with another embedder.
        ConcurrentWrite: Other writers kept committing first.
    """
    started = time.perf_counter()
    files, skipped = find_files(paths)
    for path in skipped:
        logger.warning("skipped %s: unknown extension", path)
    kb = KnowledgeBase.create_or_open(store, EmbedderTokenizer.load(config.embedding.embedder).spec)
    documents = read_documents(files, config).materialize()
    found, rejected = read_summary(documents)
    plan = plan_ingest(found, kb.document_hashes(), config.chunking.chunk_tokens)
    rejected += plan.duplicates
    write_quarantine(store, rejected)
    embedding_started = time.perf_counter()
    rows = _embed_all(documents, plan, config, advance)
    embed_seconds = time.perf_counter() - embedding_started
    version = commit_rows(kb, rows) if rows.num_rows else kb.version
    return IngestReport(
        added=len(plan.added),
        changed=len(plan.changed),
        unchanged=plan.unchanged,
        rejected=rejected,
        skipped=len(skipped),
        chunks=rows.num_rows,
        tokens=int(pc.sum(rows["tokens"]).as_py() or 0),
        seconds=time.perf_counter() - started,
        embed_seconds=embed_seconds,
        kb_version=version,
    )


def chunk_batch(batch: pa.Table, embedder: str, chunk_tokens: int) -> pa.Table:
    """Chunk rows of the batch's documents, with the number of their tokens."""
    documents = [Document.model_validate_json(text) for text in batch["document"].to_pylist()]
    tokenizer = _tokenizer(embedder)
    hashes = batch["content_hash"].to_pylist()
    rows = chunk_documents(documents, hashes, tokenizer, chunk_tokens)
    tokens = tokenizer.count_tokens(rows["text"].to_pylist())
    return rows.append_column("tokens", pa.array(tokens, pa.int64()))


@functools.cache
def _tokenizer(embedder: str) -> EmbedderTokenizer:
    # Once per worker: parsing it takes longer than cutting a block.
    return EmbedderTokenizer.load(embedder)


class EmbedChunks:
    """One embedding actor."""

    def __init__(self, embedder: str, threads: int) -> None:
        from rayraft.models.embedder import Embedder  # torch is wanted in these actors alone

        self._embedder = Embedder.load(embedder, threads=threads)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The batch with embeddings."""
        return embed_chunks(batch, self._embedder)


def _embed_all(
    documents: ray.data.Dataset, plan: Plan, config: IngestConfig, advance: Advance
) -> pa.Table:
    if not plan.keys:
        return pa.table({"tokens": pa.array([], pa.int64())})
    tables = []
    done = 0
    for batch in _embedded(documents, plan, config).iter_batches(
        batch_size=None, batch_format="pyarrow"
    ):
        tables.append(batch)
        done += int(pc.sum(pc.equal(batch["position"], 0)).as_py() or 0)
        advance(done, len(plan.keys))
    return pa.concat_tables(tables)


def _embedded(documents: ray.data.Dataset, plan: Plan, config: IngestConfig) -> ray.data.Dataset:
    settings = config.embedding
    needs = f"embedding.threads={settings.threads}"
    actors = count_actors(settings.actors, needs, cpus=settings.threads)
    # Blocks small enough to occupy all actors, even when everything came from one large file.
    block_documents = -(-len(plan.keys) // (_BLOCKS_PER_ACTOR * actors))
    keep = functools.partial(keep_batch, keys=ray.put(pa.array(sorted(plan.keys), pa.int64())))
    kept = documents.map_batches(keep, batch_format="pyarrow").repartition(
        target_num_rows_per_block=min(block_documents, _MAX_BLOCK_DOCUMENTS)
    )
    chunk = functools.partial(
        chunk_batch, embedder=settings.embedder, chunk_tokens=config.chunking.chunk_tokens
    )
    # From here on the actors may hold every CPU, and a task that needs one would wait for ever:
    # what comes before is done before, and chunking, which is light, asks for none.
    embedded: ray.data.Dataset = (
        kept.materialize()
        .map_batches(
            chunk,
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=0,
            compute=ray.data.TaskPoolStrategy(size=actors),
        )
        .map_batches(
            EmbedChunks,
            batch_size=settings.batch_chunks,
            batch_format="pyarrow",
            fn_constructor_args=(settings.embedder, settings.threads),
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=settings.threads,
        )
    )
    return embedded


def keep_batch(batch: pa.Table, keys: "ray.ObjectRef[pa.Array]") -> pa.Table:
    """The rows of the batch that are to be embedded."""
    return batch.filter(pc.is_in(batch["key"], value_set=ray.get(keys)))
