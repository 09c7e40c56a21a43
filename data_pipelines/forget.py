"""`kb forget`: a document leaves the store; what was trained on it is named.

Adapters are retired by `refresh --erase` (`train/erasure.py`), which reads the same lineage.
"""

from dataclasses import dataclass

from data_pipelines.index_snapshot import delete_snapshots
from data_pipelines.ingest import delete_document
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_versions import Compacted, holding, purge
from data_pipelines.leftovers import discard_leftovers
from data_pipelines.lineage import tainted
from data_pipelines.source_state import SourceState


@dataclass(frozen=True)
class Forgotten:
    """What was done, and what is left to do."""

    document_id: str
    kb_version: int
    compacted: Compacted | None
    """None where old versions were not asked to be deleted."""
    leftovers: list[str]
    """Folders of unfinished work and copies that were deleted with them."""
    versions: list[int]
    """Versions that still hold the document."""
    adapters: list[str]
    """Adapters that were trained on examples which show it."""
    runs: list[str]
    """RAFT runs with such examples."""


def forget(store: str, document_id: str, purge_versions: bool = False) -> Forgotten:
    """Deletes a document, and with `purge_versions` every old version and index of one, too.

    With those go unfinished work and comparisons' copies, which hold texts of documents, too.
    A document that is deleted already may be named again: its old versions can still be purged.

    Raises:
        NotFoundError: Neither the knowledge base nor one of its versions holds it.
        InputError: A tag holds an old version.
    """
    kb = KnowledgeBase.open(store)
    stored = bool(kb.document_hashes([document_id]))
    if stored or not holding(store, [document_id]):
        delete_document(document_id, kb)
    state = SourceState(store).load()
    if state.forget([document_id]):
        state.save()
    compacted, leftovers = None, []
    if purge_versions:
        compacted = purge(store)
        delete_snapshots(store)  # they hold texts and vectors of old versions
        leftovers = discard_leftovers(store)
    return Forgotten(
        document_id=document_id,
        kb_version=KnowledgeBase.open(store).version,
        compacted=compacted,
        leftovers=leftovers,
        versions=holding(store, [document_id]),
        adapters=[ref.artifact_id for ref in tainted(store, "adapter", [document_id])],
        runs=[ref.artifact_id for ref in tainted(store, "raft", [document_id])],
    )
