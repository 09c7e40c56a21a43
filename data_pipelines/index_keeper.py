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
from data_pipelines.disk_index import DiskIndex
from data_pipelines.index_snapshot import FOLDER, SnapshotKind, Snapshots
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_vectors import bring_up, vector_lag
from data_pipelines.memory_index import MemoryIndex
from data_pipelines.sharding import Shard
from data_pipelines.stores import store_uri
from rayraft.errors import ArtifactMismatch, NotFoundError

logger = logging.getLogger(__name__)

_FEW_CHANGES = 1000  # they are searched in less than a millisecond: never worth a build
_LAG_SHARE = 0.01  # of the chunks: Lance searches them one by one until its index catches up

AnyIndex = MemoryIndex | DiskIndex


class IndexKeeper:
    """Opens and builds the indexes of one retriever."""

    def __init__(self, config: RetrievalConfig, shard: Shard) -> None:
        self._config = config
        self._shard = shard

    def open(self, kb: KnowledgeBase) -> AnyIndex:
        """The snapshot of the kind that is wanted, brought up to date; else all rows, exactly."""
        if self._config.index == "disk":
            return DiskIndex(kb, self._config.dense, self._shard)
        if self._is_kept(self._chunks(kb)):
            index = self._from_snapshot(kb)
            if index is not None:
                return index
        return MemoryIndex.of(kb, self._config.dense, self._shard)

    def is_due(self, index: AnyIndex) -> bool:
        """Whether the index is of the wrong kind, not kept though it should be, or outgrown."""
        if isinstance(index, DiskIndex):
            return self._lags(index.kb) or self._is_outgrown(index)
        if index.kind != (self._kind(index.count) or "exact"):
            return True
        if self._is_kept(index.count) and not index.is_mapped:
            return True
        return self._is_outgrown(index)

    def build(self, kb: KnowledgeBase) -> AnyIndex | None:
        """The index of the version that `kb` is at; None while another process builds it."""
        if self._config.index == "disk":
            self._build_on_disk(kb)
            return DiskIndex(kb, self._config.dense, self._shard)
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

    def _build_on_disk(self, kb: KnowledgeBase) -> None:
        # It is Lance's and the table's, not a replica's: found by all when they follow its version.
        with _turn(kb.store) as mine:
            latest = kb.snapshot()
            latest.checkout_latest()
            if mine and latest.embedder == kb.embedder and self._lags(latest):
                logger.info("bringing Lance's vector index up to version %d", latest.version)
                bring_up(latest)

    def _lags(self, kb: KnowledgeBase) -> bool:
        chunks, lag = kb.count_chunks(), vector_lag(kb)
        if lag is None:
            return chunks > max(_FEW_CHANGES, self._config.dense.filter_exact_chunks)
        return lag > max(_FEW_CHANGES, _LAG_SHARE * chunks)

    def _is_outgrown(self, index: AnyIndex) -> bool:
        return index.changes > max(_FEW_CHANGES, self._config.dense.rebuild_share * index.count)

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
