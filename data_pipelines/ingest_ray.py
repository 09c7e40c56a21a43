"""The ingest job's stages on Ray Data, for inputs that are worth its start.

Ray must be running. Everything that is computed is computed by functions of other modules.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray
import ray.data

from data_pipelines.config import EmbeddingConfig, IngestConfig, ReadingConfig
from data_pipelines.embedders import load_embedder
from data_pipelines.ingest_chunking import chunk_batch
from data_pipelines.ingest_reading import SUMMARY, keep_keys, read_tables
from data_pipelines.known_vectors import FloatArray
from data_pipelines.ray_tables import from_tables
from data_pipelines.resources import count_actors
from data_pipelines.schema import vector_array, vector_matrix
from data_pipelines.sources import SourceFile

_BLOCKS_PER_CPU = 4
_MAX_BLOCK_DOCUMENTS = 256
"""A chunking task takes one block of documents: at most so many, fewer in a small job."""


def read(files: Sequence[tuple[int, SourceFile]], config: ReadingConfig) -> ray.data.Dataset:
    """The documents of numbered files, one row each, in `READ_SCHEMA`."""
    items = [{"number": number, **file._asdict()} for number, file in files]
    tasks = -(-len(items) // config.files_per_task)
    documents: ray.data.Dataset = (
        ray.data.from_items(items, override_num_blocks=tasks)
        .map_batches(
            functools.partial(_read_batch, config=config),
            batch_size=config.files_per_task,
            batch_format="pyarrow",
        )
        .materialize()
    )
    return documents


def summary(documents: ray.data.Dataset) -> list[dict[str, Any]]:
    """The rows without the texts."""
    tables = ray.get(documents.select_columns(SUMMARY).to_arrow_refs())
    return [row for table in tables if table.num_rows for row in table.to_pylist()]


def chunk(documents: Any, keys: pa.Array, embedder: str, config: IngestConfig) -> pa.Table:
    """Chunk rows of the documents with these keys."""
    if isinstance(documents, pa.Table):
        documents = from_tables([keep_keys(documents, keys)])
    cpus = count_actors(None, "chunking", cpus=1, at_most=1024)
    block = min(_MAX_BLOCK_DOCUMENTS, -(-len(keys) // (_BLOCKS_PER_CPU * cpus)))
    kept = documents.map_batches(
        functools.partial(_keep_batch, keys=ray.put(keys)), batch_format="pyarrow"
    ).repartition(target_num_rows_per_block=max(1, block))
    cut = functools.partial(chunk_batch, embedder=embedder, config=config.chunking)
    chunks = kept.map_batches(cut, batch_size=None, batch_format="pyarrow")
    tables = [table for table in ray.get(chunks.to_arrow_refs()) if table.num_rows]
    return pa.concat_tables(tables)


def embed(
    texts: Sequence[str], embedder: str, settings: EmbeddingConfig
) -> Iterator[tuple[list[int], FloatArray]]:
    """Places of texts and their vectors, batch by batch as they are done."""
    actors = count_actors(
        settings.actors, f"embedding.threads={settings.threads}", cpus=settings.threads
    )
    rows = pa.table({"place": pa.array(range(len(texts)), pa.int64()), "text": list(texts)})
    # Blocks are made here: a `repartition` would need CPUs for its tasks after the actors have
    # taken all there are, and wait for ever.
    size = min(settings.batch_chunks, -(-rows.num_rows // actors))
    blocks = [rows.slice(start, size) for start in range(0, rows.num_rows, size)]
    done = from_tables(blocks).map_batches(
        EmbedTexts,
        batch_size=settings.batch_chunks,
        batch_format="pyarrow",
        fn_constructor_args=(embedder, settings.threads),
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=settings.threads,
    )
    batches_done: Any = done.iter_batches(batch_size=None, batch_format="pyarrow")
    for batch in batches_done:
        yield batch["place"].to_pylist(), vector_matrix(batch["embedding"])


class EmbedTexts:
    """One embedding actor."""

    def __init__(self, embedder: str, threads: int) -> None:
        self._embedder = load_embedder(embedder, threads)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The batch with vectors in place of texts."""
        vectors = self._embedder.embed(batch["text"].to_pylist())
        return pa.table({"place": batch["place"], "embedding": vector_array(vectors)})


def _read_batch(batch: pa.Table, config: ReadingConfig) -> Iterator[pa.Table]:
    numbered = [
        (item["number"], SourceFile(item["path"], item["document_id"]))
        for item in batch.to_pylist()
    ]
    yield from read_tables(numbered, config)


def _keep_batch(batch: pa.Table, keys: "ray.ObjectRef[pa.Array]") -> pa.Table:
    return keep_keys(batch, ray.get(keys))
