"""Which index a retriever opens, when it is outgrown, and how the next one is built.

Processes that serve one store take turns: one builds and writes the snapshot, the others map it.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from data_pipelines.ann import AnnKind, kind_for
from data_pipelines.config import RetrievalConfig
from data_pipelines.index_snapshot import FOLDER, SnapshotKind, Snapshots
from data_pipelines.kb import KnowledgeBase
from data_pipelines.memory_index import MemoryIndex
from data_pipelines.sharding import Shard
from data_pipelines.stores import store_uri
from rayraft.errors import ArtifactMismatch, NotFoundError

logger = logging.getLogger(__name__)

_FEW_CHANGES = 1000  # they are searched in less than a millisecond: never worth a build


class IndexKeeper:
    """Opens and builds the indexes of one retriever."""

    def __init__(self, config: RetrievalConfig, shard: Shard) -> None:
        self._config = config
        self._shard = shard

    def open(self, kb: KnowledgeBase) -> MemoryIndex:
        """The snapshot of the kind that is wanted, brought up to date; else all rows, exactly."""
        if self._is_kept(self._chunks(kb)):
            index = self._from_snapshot(kb)
            if index is not None:
                return index
        return MemoryIndex.of(kb, self._config.dense, self._shard)

    def is_due(self, index: MemoryIndex) -> bool:
        """Whether the index is of the wrong kind, not kept though it should be, or outgrown."""
        kind = None if index.ann is None else index.ann.kind
        if kind != self._kind(index.count):
            return True
        if self._is_kept(index.count) and not index.is_mapped:
            return True
        return index.changes > max(_FEW_CHANGES, self._config.dense.rebuild_share * index.count)

    def build(self, kb: KnowledgeBase) -> MemoryIndex | None:
        """The index of the version that `kb` is at; None while another process builds it."""
        if not self._is_kept(self._chunks(kb)):
            return MemoryIndex.of(kb, self._config.dense, self._shard)
        with _turn(kb.store) as mine:
            if not mine:
                return None
            index = self._from_snapshot(kb)  # another process may have built it just now
            if index is None or self.is_due(index):
                snapshots = self._snapshots(kb)
                logger.info("building the index of version %d", kb.version)
                index = snapshots.open(snapshots.build(kb))
            return index

    def _from_snapshot(self, kb: KnowledgeBase) -> MemoryIndex | None:
        snapshots = self._snapshots(kb)
        version = snapshots.latest(kb.version)
        if version is None:
            return None
        try:
            index = snapshots.open(version)
            if version < kb.version:
                index.apply(kb.delta(version))
        except (ArtifactMismatch, NotFoundError, OSError, ValueError, RuntimeError) as exc:
            logger.warning("the index of version %d is not used: %s", version, exc)
            return None
        return index

    def _snapshots(self, kb: KnowledgeBase) -> Snapshots:
        kind = self._kind(self._chunks(kb))
        made = SnapshotKind(kb.embedder.digest, kind, self._config.dense, self._shard)
        return Snapshots(kb.store, made)

    def _chunks(self, kb: KnowledgeBase) -> int:
        return kb.count_chunks() // self._shard.count

    def _kind(self, chunks: int) -> AnnKind | None:
        return kind_for(self._config.index, chunks, self._config.dense)

    def _is_kept(self, chunks: int) -> bool:
        return chunks >= self._config.dense.snapshot_chunks or self._kind(chunks) is not None


@contextmanager
def _turn(store: str) -> Iterator[bool]:
    """Whether this process may build now; on a bucket, where nothing can be locked, always."""
    if "://" in store:
        yield True
        return
    folder = f"{store_uri(store)}/{FOLDER}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/.lock", "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True  # the lock goes with the file, also if this process is killed
