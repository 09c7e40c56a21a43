"""How stale adapters and the full-text index are against the knowledge base, and what to do.

Pure reading: nothing is loaded and nothing changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from data_pipelines.artifacts import ArtifactRef, find, listing, read_manifest
from data_pipelines.champions import ROLES, Role, champions
from data_pipelines.feedback import heard_until, read_feedback
from data_pipelines.kb import KnowledgeBase
from data_pipelines.lineage import documents_seen
from rayraft.config import Config
from rayraft.errors import NotFoundError


class DriftConfig(Config):
    """From when on a refresh is worth its while."""

    changed_share: float = Field(default=0.02, ge=0, le=1)
    """Share of the chunks that are new or changed since the adapter."""
    feedback: int = Field(default=20, ge=1)
    """Accepted or corrected answers that the adapter has not heard of."""


@dataclass(frozen=True)
class AdapterDrift:
    """How far the knowledge base has moved since an adapter was trained."""

    adapter_id: str
    champion_of: list[Role]
    kb_version: int | None
    """None: not told by the adapter."""
    changed_chunks: int | None
    """Chunks that are new or changed since; None where that version exists no longer."""
    removed_chunks: int | None
    forgotten: list[str]
    """Documents that the adapter saw and the knowledge base holds no longer."""


@dataclass(frozen=True)
class Drift:
    """The state of a store."""

    kb_version: int
    chunks: int
    unindexed_chunks: int
    """Found by full-text search one by one until the index catches up."""
    unheard_feedback: int
    adapters: list[AdapterDrift]


def measure_drift(store: str) -> Drift:
    """The store as it is now.

    Raises:
        NotFoundError: There is no knowledge base, or no longer an adapter that was promoted.
    """
    kb = KnowledgeBase.open(store)
    documents = set(kb.document_hashes())
    best = champions(store)
    heard = [heard_until(find(store, "adapter", adapter_id)) for adapter_id in best.values()]
    feedback, _ = read_feedback(store, max(heard, default=0), groups=())
    return Drift(
        kb_version=kb.version,
        chunks=kb.count_chunks(),
        unindexed_chunks=kb.unindexed_chunks(),
        unheard_feedback=sum(one.verdict != "rejected" for one in feedback),
        adapters=[_adapter(ref, kb, documents, best) for ref in listing(store, "adapter")],
    )


def _adapter(
    ref: ArtifactRef, kb: KnowledgeBase, documents: set[str], best: Mapping[Role, str]
) -> AdapterDrift:
    version = read_manifest(ref).kb_version
    changed = removed = None
    if version is not None:
        try:
            delta = kb.delta(version)
            changed, removed = delta.upserted.num_rows, len(delta.removed_chunk_ids)
        except NotFoundError:
            pass
    return AdapterDrift(
        adapter_id=ref.artifact_id,
        champion_of=[role for role in ROLES if best.get(role) == ref.artifact_id],
        kb_version=version,
        changed_chunks=changed,
        removed_chunks=removed,
        forgotten=sorted(documents_seen(ref) - documents),
    )


def advice(drift: Drift, config: DriftConfig) -> list[str]:
    """What to do, a line each; the rule is in `DriftConfig`."""
    lines = []
    erased = [adapter for adapter in drift.adapters if adapter.forgotten]
    if erased:
        documents = sorted({document for adapter in erased for document in adapter.forgotten})
        names = ", ".join(adapter.adapter_id for adapter in erased)
        lines.append(
            f"refresh --erase: {names} saw {len(documents)} documents that are deleted, such as "
            f"{documents[0]}"
        )
    for adapter in drift.adapters:
        if not adapter.champion_of or adapter.changed_chunks is None:
            continue
        share = adapter.changed_chunks / max(1, drift.chunks)
        if share >= config.changed_share:
            lines.append(
                f"refresh: {share:.1%} of the chunks are new or changed since "
                f"{adapter.adapter_id}, champion of {', '.join(adapter.champion_of)}"
            )
    if drift.unheard_feedback >= config.feedback:
        lines.append(f"refresh: {drift.unheard_feedback} answers of feedback are not learned yet")
    return lines or ["nothing: no refresh is worth its while yet"]


def drift_lines(drift: Drift, config: DriftConfig) -> list[str]:
    """The state and the advice, a line each."""
    lines = [
        f"knowledge base version {drift.kb_version}, {drift.chunks} chunks, "
        f"{drift.unindexed_chunks} of them not in the full-text index yet",
        f"feedback that the champion has not heard: {drift.unheard_feedback}",
    ]
    for adapter in drift.adapters:
        crown = f", champion of {', '.join(adapter.champion_of)}" if adapter.champion_of else ""
        if adapter.changed_chunks is None:
            moved = "that version exists no longer, so the changes cannot be counted"
        else:
            moved = f"{adapter.changed_chunks} chunks changed, {adapter.removed_chunks} removed"
        lines.append(
            f"{adapter.adapter_id}{crown}: from version {adapter.kb_version}; {moved}; "
            f"{len(adapter.forgotten)} deleted documents seen"
        )
    return [*lines, "", *(f"-> {line}" for line in advice(drift, config))]
