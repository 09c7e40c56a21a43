"""The ingest job: read -> drop unchanged -> chunk -> embed what is new -> one atomic commit.

Its cost follows the change: a file that is as it was is not opened, a document that is as it was is
not cut, and a text whose vector is known is not embedded. What is little is done in this process,
the rest on Ray Data (`ingest_ray.py`). Nothing but the commit touches the knowledge base, so a job
that is killed leaves the last version as it was, and the next run does what was left.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from data_pipelines.config import IngestConfig
from data_pipelines.embedders import embedder_source, load_tokenizer, named
from data_pipelines.embedding_staging import StagedVectors
from data_pipelines.ingest import Plan, commit_rows, plan_ingest
from data_pipelines.ingest_chunking import chunk_batch
from data_pipelines.ingest_inputs import Inputs, RunOptions, read_inputs
from data_pipelines.ingest_reading import READ_SCHEMA, keep_keys
from data_pipelines.ingest_report import IngestReport
from data_pipelines.kb import KnowledgeBase
from data_pipelines.known_vectors import KnownVectors, embedded_texts, text_key
from data_pipelines.progress import Advance, no_progress
from data_pipelines.quarantine import write_quarantine
from data_pipelines.schema import vector_array
from data_pipelines.source_state import SourceState
from data_pipelines.sources import SourceFile, find_files
from data_pipelines.sync import check_removals, plan_removals
from data_pipelines.vector_making import VectorMaker
from rayraft.errors import NotFoundError
from rayraft.models.embedder_tokenizer import DEFAULT_EMBEDDER

logger = logging.getLogger(__name__)

_FEW_DOCUMENTS = 2000
"""Cut here rather than on Ray; takes a second or two."""


def run_ingest(
    paths: Sequence[str],
    store: str,
    config: IngestConfig,
    advance: Advance = no_progress,
    options: RunOptions | None = None,
) -> IngestReport:
    """Reads files and folders into the store's knowledge base, in one new version or none.

    Args:
        paths: Files and folders.
        store: Folder or URI of the store.
        config: The job's configuration.
        advance: Called with the number of chunks embedded and the number to embed.
        options: Sync, dry run, and how Ray is started.

    Raises:
        InputError: A path does not exist or holds nothing to read; a sync would remove too much.
        ArtifactMismatch: The store was made with another embedder.
        ConcurrentWrite: Other writers kept committing first.
    """
    options, started = options or RunOptions(), time.perf_counter()
    files, skipped = _find(paths, config) if paths or not options.query else ([], [])
    kb, name = open_kb(store, config.embedding.embedder)
    embedder = embedder_source(store, name)
    stored = kb.document_hashes() if kb else {}
    state = SourceState(store).load()
    inputs = read_inputs(files, stored, config, state, options)
    plan = plan_ingest(inputs.found, stored, config.chunking.label)
    rejected = [*inputs.rejected, *plan.duplicates]
    removed = _removals(kb, inputs, config) if options.sync else []
    staged = StagedVectors(store, load_tokenizer(embedder).spec)
    job = _Job(config, embedder, options, staged, advance)
    chunking_started = time.perf_counter()
    rows = job.chunk(inputs, plan)
    vectors = job.known_vectors(kb, [*(f.document_id for f in plan.changed), *removed])
    missing = vectors.missing([text_key(text) for text in embedded_texts(rows)])
    tokens = int(pc.sum(rows["tokens"].take(pa.array(missing, pa.int64()))).as_py() or 0)
    version = kb.version if kb else None
    if not options.dry_run:
        kb = kb or _created(store, embedder, name)
        write_quarantine(store, rejected)
        version = job.commit(kb, rows, vectors, removed)
        state.save()
    return IngestReport(
        added=len(plan.added),
        changed=len(plan.changed),
        unchanged=plan.unchanged,
        rejected=rejected,
        skipped=len(skipped),
        chunks=rows.num_rows,
        tokens=tokens,
        seconds=time.perf_counter() - started,
        embed_seconds=time.perf_counter() - chunking_started,
        kb_version=version,
        removed=len(removed),
        embedded=len(missing),
        files_read=inputs.files_read,
        dry_run=options.dry_run,
    )


def _find(paths: Sequence[str], config: IngestConfig) -> tuple[list[SourceFile], list[str]]:
    files, skipped = find_files(paths, config.reading)
    for path in skipped:
        logger.warning("skipped %s: unknown extension", path)
    return files, skipped


def open_kb(store: str, embedder: str | None) -> tuple[KnowledgeBase | None, str]:
    """The store's knowledge base, None where there is none yet, and the name of its embedder.

    Args:
        store: Folder or URI of the store.
        embedder: The name asked for; None takes the one that the store was made with.

    Raises:
        ArtifactMismatch: It was made with another embedder.
    """
    try:
        stored = KnowledgeBase.open(store)
    except NotFoundError:
        return None, embedder or DEFAULT_EMBEDDER
    name = embedder or stored.embedder.name
    spec = load_tokenizer(embedder_source(store, name)).spec
    return KnowledgeBase.create_or_open(store, named(spec, name)), name


def _created(store: str, embedder: str, name: str) -> KnowledgeBase:
    """Made after reading: what fails before leaves no empty store."""
    return KnowledgeBase.create_or_open(store, named(load_tokenizer(embedder).spec, name))


def _removals(kb: KnowledgeBase | None, inputs: Inputs, config: IngestConfig) -> list[str]:
    if kb is None:
        return []
    stored = kb.read_chunks(["document_id", "uri"], "position = 0").to_pylist()
    uris = {row["document_id"]: row["uri"] for row in stored}
    removed = plan_removals(uris, {item.document_id for item in inputs.found}, inputs.rejected)
    check_removals(removed, len(uris), config.sync)
    return removed


@dataclass(frozen=True)
class _Job:
    """The stages behind reading, with what they share."""

    config: IngestConfig
    embedder: str
    options: RunOptions
    staged: StagedVectors
    advance: Advance

    def chunk(self, inputs: Inputs, plan: Plan) -> pa.Table:
        """Rows of all chunks of the documents to write, with `tokens`."""
        keys = pa.array(sorted(plan.keys), pa.int64())
        here = isinstance(inputs.documents, pa.Table) and len(keys) <= _FEW_DOCUMENTS
        if here or not len(keys):
            kept = keep_keys(inputs.documents, keys) if here else READ_SCHEMA.empty_table()
            return chunk_batch(kept, self.embedder, self.config.chunking)
        self.options.start_ray()
        from data_pipelines import ingest_ray

        return ingest_ray.chunk(inputs.documents, keys, self.embedder, self.config)

    def known_vectors(self, kb: KnowledgeBase | None, document_ids: Sequence[str]) -> KnownVectors:
        """What needs no embedding: the vectors of replaced documents and of a killed run."""
        known = KnownVectors(load_tokenizer(self.embedder).spec.dim)
        if kb is not None and document_ids:
            known.add_rows(kb.stored_vectors(document_ids))
        self.staged.load(known)
        return known

    def commit(
        self, kb: KnowledgeBase, rows: pa.Table, known: KnownVectors, removed: Sequence[str]
    ) -> int:
        """Embeds what is not known and commits; returns the version."""
        if not rows.num_rows and not removed:
            return kb.version
        maker = VectorMaker(
            self.embedder,
            self.config.embedding,
            self.staged,
            self.advance,
            self.options.start_ray,
        )
        vectors = maker.vectors(embedded_texts(rows), known)
        embedded = rows.append_column("embedding", vector_array(vectors))
        version = commit_rows(kb, embedded, removed)
        self.staged.clear()
        return version
