"""Erasure: after documents are deleted, everything that was learned from them goes, too.

Adapters whose training saw a deleted document (golden or distractor, in any ancestor) are retired:
a champion among them is first replaced by one that is trained anew without those examples. RAFT
runs, evaluations, comparisons, feedback and training checkpoints with their text are deleted, and
with them unfinished work and comparisons' copies. Older versions of the knowledge base keep the
text until they are removed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.champions import withdraw
from data_pipelines.chunking import document_of
from data_pipelines.feedback import forget_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.leftovers import discard_leftovers
from data_pipelines.lineage import documents_in, tainted
from data_pipelines.progress import Advance, no_progress
from data_pipelines.stores import exists, open_filesystem
from rayraft.records import Question
from train.eval_reading import read_eval_rows
from train.refresh import Cycle, Refreshed
from train.refresh_config import RefreshConfig
from train.refresh_report import report_lines
from train.refresh_state import champion_of, roles_of


@dataclass(frozen=True)
class Erased:
    """What was erased."""

    documents: list[str]
    """Deleted documents that something had been learned from."""
    adapters: list[str] = field(default_factory=list)
    raft_runs: list[str] = field(default_factory=list)
    evaluations: list[str] = field(default_factory=list)
    comparisons: list[str] = field(default_factory=list)
    feedback: int = 0
    leftovers: list[str] = field(default_factory=list)
    """Folders of unfinished work and of copies."""
    kb_version: int = 0
    retrained: Refreshed | None = None

    def lines(self) -> list[str]:
        """As a person reads it."""
        if not self.documents:
            return [
                f"Nothing to erase: nothing was learned from documents that are not in knowledge "
                f"base version {self.kb_version}.",
                *self._leftover_lines(),
            ]
        report = report_lines(self.retrained) if self.retrained else []
        return [
            *report,
            *([""] if report else []),
            f"Forgotten: {len(self.documents)} documents: {_some(self.documents)}",
            f"- adapters deleted: {_some(self.adapters)}",
            f"- RAFT runs deleted: {_some(self.raft_runs)}",
            f"- evaluations deleted: {_some(self.evaluations)}",
            f"- comparisons deleted: {_some(self.comparisons)}",
            f"- feedback deleted: {self.feedback}",
            *self._leftover_lines(),
            "- versions of the knowledge base before the deletion still hold the text",
        ]

    def _leftover_lines(self) -> list[str]:
        folders = ", ".join(self.leftovers)
        return [f"- unfinished work and copies deleted: {folders}"] if folders else []


class _ForgettingCycle(Cycle):
    forgets = True


def erase_deleted(
    store: str,
    config: RefreshConfig,
    name: str,
    holdout: Sequence[Question] = (),
    progress: Advance = no_progress,
) -> Erased:
    """Retires all that saw documents which the knowledge base holds no longer.

    Killed half-way it is called again: what is left is found again.

    Raises:
        NotFoundError: There is no knowledge base.
        NothingToLearn: No example is left to train the champion's successor on.
    """
    kb = KnowledgeBase.open(store)
    leftovers = discard_leftovers(store)  # which documents they hold is written nowhere
    gone = _learned_from(store) - kb.document_hashes().keys()
    if not gone:
        return Erased([], leftovers=leftovers, kb_version=kb.version)
    adapters = tainted(store, "adapter", gone)
    role = roles_of(config.train)[0]
    champion = champion_of(store, role, config.train, name)
    retrained = None
    if champion in adapters:
        retrained = _ForgettingCycle(store, config, name, holdout, progress).run()
    ids = [ref.artifact_id for ref in adapters]
    withdraw(store, ids)
    for ref in adapters:
        _delete_checkpoints(ref)
        artifacts.delete(ref)
    return Erased(
        documents=sorted(gone),
        adapters=ids,
        evaluations=_delete_evaluations(store, gone),
        comparisons=_delete_all(tainted(store, "comparison", gone)),
        feedback=forget_documents(store, sorted(gone)),
        raft_runs=_delete_all(tainted(store, "raft", gone)),  # last: they tell what was learned
        leftovers=leftovers,
        kb_version=kb.version,
        retrained=retrained,
    )


def _learned_from(store: str) -> set[str]:
    documents: set[str] = set()
    for run in artifacts.listing(store, "raft"):
        documents |= documents_in(run)
    return documents


def _delete_all(refs: Collection[ArtifactRef]) -> list[str]:
    for ref in refs:
        artifacts.delete(ref)
    return [ref.artifact_id for ref in refs]


def _delete_checkpoints(adapter: ArtifactRef) -> None:
    filesystem, root = open_filesystem(adapter.store)
    for source in artifacts.read_manifest(adapter).made_from:
        path = f"{root}/{source}"
        if source.startswith("runs/") and exists(filesystem, path):
            filesystem.delete_dir(path)


def _delete_evaluations(store: str, gone: Collection[str]) -> list[str]:
    """Those that asked about a document that is gone, or showed a passage of it."""
    found = []
    for ref in artifacts.listing(store, "eval"):
        rows = read_eval_rows(ref)
        asked = {document_id for row in rows for document_id in row.gold_ids}
        shown = {document_of(chunk_id) for row in rows for chunk_id in row.passage_ids}
        if (asked | shown) & set(gone):
            found.append(ref)
    return _delete_all(found)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown or "none"
