"""Documents into the knowledge base: what is new is chunked, embedded and committed at once.

The Ray job is in `ingest_job.py`; this is what both ways share, and the in-process way.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from data_pipelines.config import ChunkingConfig
from data_pipelines.embedding import ChunkEmbedder, chunk_documents, embed_chunks
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import check_embedder
from data_pipelines.known_vectors import KnownVectors
from data_pipelines.quarantine import Rejected
from data_pipelines.schema import chunking_of, content_of, stored_hash
from rayraft.errors import InputError, NotFoundError
from rayraft.records import Document

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What a reading task says of one document, apart from its text."""

    key: int
    """Its place in the input: equal for no two documents."""
    document_id: str
    content_hash: str
    uri: str


@dataclass(frozen=True)
class Plan:
    """What has to be done with the documents found."""

    added: list[Found]
    changed: list[Found]
    unchanged: int
    duplicates: list[Rejected]

    @property
    def keys(self) -> set[int]:
        """Keys of the documents to embed."""
        return {found.key for found in (*self.added, *self.changed)}


def plan_ingest(
    found: Collection[Found], stored_hashes: dict[str, str], chunking: str | None
) -> Plan:
    """What is new, changed and unchanged; of documents with one id, the first in the input counts.

    Args:
        found: The documents read.
        stored_hashes: `document_hash` by document id of the knowledge base.
        chunking: `ChunkingConfig.label`; a document that was cut otherwise counts as changed. None
            looks at the content alone.
    """
    plan = Plan(added=[], changed=[], unchanged=0, duplicates=[])
    unchanged = 0
    first: dict[str, Found] = {}
    for item in sorted(found, key=lambda item: item.key):
        other = first.setdefault(item.document_id, item)
        if other is not item:
            plan.duplicates.append(
                Rejected(
                    uri=item.uri,
                    document_id=item.document_id,
                    reason=f"the same document id as {other.uri}",
                )
            )
        elif item.document_id not in stored_hashes:
            plan.added.append(item)
        elif not is_stored(item, stored_hashes[item.document_id], chunking):
            plan.changed.append(item)
        else:
            unchanged += 1
    return Plan(plan.added, plan.changed, unchanged, plan.duplicates)


def is_stored(item: Found, document_hash: str, chunking: str | None) -> bool:
    """Whether a stored `document_hash` says that nothing is to do."""
    if chunking is None:
        return content_of(document_hash) == item.content_hash
    return document_hash == stored_hash(item.content_hash, chunking)


def ingest_documents(
    documents: Sequence[Document],
    kb: KnowledgeBase,
    embedder: ChunkEmbedder,
    config: ChunkingConfig | None = None,
) -> int:
    """Adds or replaces documents without Ray; returns the version that holds them.

    Unchanged documents are left alone; if all are, there is no new version.

    Args:
        documents: The documents.
        kb: Where they go.
        embedder: The one the knowledge base was made with.
        config: How they are cut; documents that were cut otherwise count as changed. Without it,
            what has to be cut is cut as the knowledge base is, and unchanged content stays as it
            is.

    Raises:
        ArtifactMismatch: The knowledge base was made with another embedder.
        InputError: A blank text, or two documents with one id.
        ConcurrentWrite: Other writers kept committing first.
    """
    for document in documents:
        if not document.text.strip():
            raise InputError(f"document {document.document_id!r}: text is blank")
    kb.checkout_latest()
    check_embedder(kb.embedder, embedder.spec, "knowledge base")
    found = [
        Found(key, document.document_id, document.content_hash(), document.uri)
        for key, document in enumerate(documents)
    ]
    stored = kb.document_hashes([document.document_id for document in documents])
    plan = plan_ingest(found, stored, config.label if config else None)
    if plan.duplicates:
        raise InputError(f"document id {plan.duplicates[0].document_id!r} is given twice")
    wanted = [found[key] for key in sorted(plan.keys)]
    if not wanted:
        return kb.version
    rows = chunk_documents(
        [documents[item.key] for item in wanted],
        [item.content_hash for item in wanted],
        embedder,
        config or stored_chunking(kb),
    )
    known = KnownVectors(kb.embedder.dim)
    known.add_rows(kb.stored_vectors([item.document_id for item in plan.changed]))
    return commit_rows(kb, embed_chunks(rows, embedder, known))


def stored_chunking(kb: KnowledgeBase) -> ChunkingConfig:
    """How the documents of a knowledge base are cut; the defaults for an empty one."""
    document_hash = kb.any_document_hash()
    return (
        ChunkingConfig.of_label(chunking_of(document_hash)) if document_hash else ChunkingConfig()
    )


def delete_document(document_id: str, kb: KnowledgeBase) -> int:
    """Removes a document with all its chunks; returns the version without it.

    Raises:
        NotFoundError: There is no such document.
        ConcurrentWrite: Other writers kept committing first.
    """
    kb.checkout_latest()
    if document_id not in kb.document_hashes([document_id]):
        raise NotFoundError(f"no document {document_id!r} in version {kb.version}")
    nothing = kb.read_chunks(where="false")
    return kb.commit(nothing, [document_id])


def commit_rows(kb: KnowledgeBase, rows: pa.Table, removed_document_ids: Iterable[str] = ()) -> int:
    """One atomic commit, then the full-text index is brought up to it; returns the version."""
    version = kb.commit(rows, removed_document_ids)
    logger.info("committed version %d with %d chunks", version, rows.num_rows)
    return kb.optimize()
