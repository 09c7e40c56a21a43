"""The ingest job on Ray Data: read -> drop unchanged -> chunk -> embed -> one atomic commit.

Nothing but the commit touches the knowledge base, so a job that is killed leaves the last version
as it was, and the next run does what was left.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from data_pipelines.config import IngestConfig
from data_pipelines.embedding import chunk_documents, embed_chunks
from data_pipelines.ingest import Found, Plan, commit_rows, plan_ingest
from data_pipelines.kb import KnowledgeBase
from data_pipelines.progress import Advance, no_progress
from data_pipelines.quarantine import Rejected, write_quarantine
from data_pipelines.readers import read_file
from data_pipelines.resources import count_actors
from data_pipelines.sources import SourceFile, find_files
from rayraft.models.embedder_tokenizer import EmbedderTokenizer
from rayraft.records import Document

logger = logging.getLogger(__name__)

_FILE_KEYS = 2**32
"""Documents one file can hold: a document's key is its file's number times this plus its own."""

_BLOCKS_PER_ACTOR = 8
_MAX_BLOCK_DOCUMENTS = 64
"""A chunking task takes one block of documents: at most so many, fewer in a small job."""

_READ_SCHEMA = pa.schema(
    [
        pa.field("key", pa.int64()),
        pa.field("document_id", pa.string()),
        pa.field("document_hash", pa.string()),
        pa.field("uri", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("document", pa.string()),
    ]
)


@dataclass(frozen=True)
class IngestReport:
    """What a run did."""

    added: int
    changed: int
    unchanged: int
    quarantined: int
    skipped: int
    """Files with an unknown extension."""
    chunks: int
    tokens: int
    seconds: float
    embed_seconds: float
    """Of `seconds`, those in which chunks were made and embedded."""
    kb_version: int

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
    found, rejected = _summary(documents)
    plan = plan_ingest(found, kb.document_hashes())
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
        quarantined=len(rejected),
        skipped=len(skipped),
        chunks=rows.num_rows,
        tokens=int(pc.sum(rows["tokens"]).as_py() or 0),
        seconds=time.perf_counter() - started,
        embed_seconds=embed_seconds,
        kb_version=version,
    )


def read_documents(files: Sequence[SourceFile], config: IngestConfig) -> ray.data.Dataset:
    """One row per document or per reason why there is none, in `_READ_SCHEMA`."""
    items = [{"number": number, **file._asdict()} for number, file in enumerate(files)]
    tasks = -(-len(items) // config.reading.files_per_task)
    return ray.data.from_items(items, override_num_blocks=tasks).map_batches(
        partial(read_batch, max_file_mb=config.reading.max_file_mb),
        batch_size=config.reading.files_per_task,
        batch_format="pyarrow",
    )


def read_batch(batch: pa.Table, max_file_mb: int) -> Iterator[pa.Table]:
    """The documents of each file of the batch."""
    for item in batch.to_pylist():
        source = SourceFile(item["path"], item["document_id"])
        rows = [
            _read_row(item["number"] * _FILE_KEYS + place, result)
            for place, result in enumerate(read_file(source, max_file_mb))
        ]
        yield pa.Table.from_pylist(rows, schema=_READ_SCHEMA)


def chunk_batch(batch: pa.Table, embedder: str, chunk_tokens: int) -> pa.Table:
    """Chunk rows of the batch's documents, with the number of their tokens."""
    documents = [Document.model_validate_json(text) for text in batch["document"].to_pylist()]
    tokenizer = EmbedderTokenizer.load(embedder)
    rows = chunk_documents(documents, tokenizer, chunk_tokens)
    tokens = tokenizer.count_tokens(rows["text"].to_pylist())
    return rows.append_column("tokens", pa.array(tokens, pa.int64()))


class EmbedChunks:
    """One embedding actor."""

    def __init__(self, embedder: str, threads: int) -> None:
        from rayraft.models.embedder import Embedder  # torch is wanted in these actors alone

        self._embedder = Embedder.load(embedder, threads=threads)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The batch with embeddings."""
        return embed_chunks(batch, self._embedder)


def _read_row(key: int, result: Document | Rejected) -> dict[str, Any]:
    row = {"key": key, "document_id": result.document_id, "uri": result.uri}
    if isinstance(result, Rejected):
        return {**row, "reason": result.reason}
    return {
        **row,
        "document_hash": result.content_hash(),
        "document": result.model_dump_json(),
    }


def _summary(documents: ray.data.Dataset) -> tuple[list[Found], list[Rejected]]:
    columns = [name for name in _READ_SCHEMA.names if name != "document"]
    tables = ray.get(documents.select_columns(columns).to_arrow_refs())
    rows = pa.concat_tables([_READ_SCHEMA.empty_table().select(columns), *tables]).to_pylist()
    found = [
        Found(row["key"], row["document_id"], row["document_hash"], row["uri"])
        for row in rows
        if row["reason"] is None
    ]
    rejected = [
        Rejected(uri=row["uri"], document_id=row["document_id"], reason=row["reason"])
        for row in sorted(rows, key=lambda row: int(row["key"]))
        if row["reason"] is not None
    ]
    return found, rejected


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
    keep = partial(keep_batch, keys=ray.put(pa.array(sorted(plan.keys), pa.int64())))
    kept = documents.map_batches(keep, batch_format="pyarrow").repartition(
        target_num_rows_per_block=min(block_documents, _MAX_BLOCK_DOCUMENTS)
    )
    chunk = partial(
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
