"""What an adapter was made of, through all its ancestors: examples, documents, other adapters.

An adapter that was trained from another one has seen what that one saw. Everything is read from
manifests and published examples; what was deleted in between cannot be told any more.
"""

import functools
import json
from collections.abc import Callable, Iterable, Sequence, Set

from data_pipelines.artifacts import ArtifactRef, find, listing, read_file, read_manifest
from data_pipelines.filters import readable
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import UPDATED_IN
from data_pipelines.raft_reading import read_run
from rayraft.errors import NotFoundError
from rayraft.manifests import Kind
from rayraft.records import RaftExample

_PREFIXES: dict[str, Kind] = {"adapters/": "adapter", "raft/": "raft"}


def ancestors(ref: ArtifactRef) -> list[ArtifactRef]:
    """The artifact and every adapter and RAFT run behind it that still exists, nearest first."""
    found: dict[tuple[Kind, str], ArtifactRef] = {(ref.kind, ref.artifact_id): ref}
    waiting = [ref]
    while waiting:
        for parent in _parents(waiting.pop(0)):
            if (parent.kind, parent.artifact_id) not in found:
                found[parent.kind, parent.artifact_id] = parent
                waiting.append(parent)
    return list(found.values())


def runs_behind(adapter: ArtifactRef) -> list[ArtifactRef]:
    """The RAFT runs that an adapter and its ancestors were trained on, nearest first."""
    return [ref for ref in ancestors(adapter) if ref.kind == "raft"]


def documents_seen(adapter: ArtifactRef) -> set[str]:
    """Ids of the documents of which text was in any example behind the adapter."""
    seen: set[str] = set()
    for run in runs_behind(adapter):
        seen |= documents_in(run)
    return seen


def documents_in(run: ArtifactRef) -> frozenset[str]:
    """Ids of the documents of which text is in a run's examples: golden ones and distractors."""
    return _documents(run, read_manifest(run).data_digest)


@functools.lru_cache(maxsize=1024)
def _documents(run: ArtifactRef, data_digest: str | None) -> frozenset[str]:
    # Adapters share their ancestors' runs: each is read once, unless another takes its name.
    seen: set[str] = set()
    for table in read_run(run).values():
        seen.update(table["document_id"].to_pylist())
        if "further_documents" in table.column_names:
            seen.update(i for own in table["further_documents"].to_pylist() for i in own or ())
        for passages in table["passages"].to_pylist():
            seen.update(passage["document_id"] for passage in passages)
    return frozenset(seen)


def documents_sampled(comparison: ArtifactRef) -> set[str]:
    """Ids of the documents that a comparison's samples ask about or were answered from."""
    seen: set[str] = set()
    for sample in json.loads(read_file(comparison, "report.json")).get("samples", []):
        seen.update(sample.get("gold_ids", []))
        for given in sample["given"].values():
            seen.update(given["documents"])
    return seen


_LOOK: dict[str, Callable[[ArtifactRef], Set[str]]] = {
    "adapter": documents_seen,
    "raft": documents_in,
    "comparison": documents_sampled,
}


def tainted(store: str, kind: Kind, document_ids: Iterable[str]) -> dict[ArtifactRef, set[str]]:
    """The artifacts of a store that have seen any of these documents, and which of them.

    Args:
        store: Root.
        kind: `adapter`, `raft` or `comparison`.
        document_ids: The documents.
    """
    wanted = set(document_ids)
    found = {ref: wanted & _LOOK[kind](ref) for ref in listing(store, kind)}
    return {ref: documents for ref, documents in found.items() if documents}


def current_examples(
    runs: Sequence[ArtifactRef], kb: KnowledgeBase, groups: Sequence[str]
) -> list[RaftExample]:
    """The examples of some runs that the knowledge base still bears out, each once, sorted by id.

    Every passage and every golden chunk must be there, readable by `groups`, and unchanged since
    the run was made.
    """
    written_in = _versions(kb, groups)
    kept: dict[str, RaftExample] = {}
    for run in runs:
        made_at = read_manifest(run).kb_version or 0
        for table in read_run(run).values():
            for row in table.to_pylist():
                shown = [passage["chunk_id"] for passage in row["passages"]]
                chunks = {*shown, *row["golden_ids"]}
                if all(written_in.get(chunk, made_at + 1) <= made_at for chunk in chunks):
                    kept.setdefault(row["example_id"], RaftExample.model_validate(row))
    return [kept[example_id] for example_id in sorted(kept)]


def _versions(kb: KnowledgeBase, groups: Sequence[str]) -> dict[str, int]:
    """Chunk id -> version that last wrote it, of the chunks that the groups may read."""
    rows = readable(kb.read_chunks(["chunk_id", "acl", UPDATED_IN]), groups)
    pairs = zip(rows["chunk_id"].to_pylist(), rows[UPDATED_IN].to_pylist(), strict=True)
    return {chunk_id: int(version) for chunk_id, version in pairs}


def _parents(ref: ArtifactRef) -> list[ArtifactRef]:
    parents = []
    for name in read_manifest(ref).made_from:
        for prefix, kind in _PREFIXES.items():
            if name.startswith(prefix):
                try:
                    parents.append(find(ref.store, kind, name.removeprefix(prefix)))
                except NotFoundError:
                    continue
    return parents
