"""An index kept below the store, at a knowledge base version: a restart maps it into memory.

A snapshot is a folder of files that never changes; its manifest is written last. The processes of a
machine share its pages; from a bucket, each machine keeps one copy. It holds texts and vectors of
its version, so erasing a document from old versions must erase snapshots, too (`delete_snapshots`).
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

from data_pipelines.ann import AnnIndex, AnnKind
from data_pipelines.chunk_rows import ordered_by_row_id
from data_pipelines.config import DenseConfig
from data_pipelines.kb import KnowledgeBase
from data_pipelines.memory_index import INDEX_COLUMNS, MemoryIndex
from data_pipelines.schema import vector_matrix
from data_pipelines.sharding import ALL, Shard
from data_pipelines.stores import open_filesystem, write_file
from rayraft.errors import ArtifactMismatch
from rayraft.manifests import MANIFEST, Manifest, parse_manifest
from rayraft.provenance import utc_now
from rayraft.records import digest

FOLDER = "index"
_ROWS, _VECTORS, _ANN = "rows.arrow", "vectors.npy", "ann.faiss"
_FORMAT = 1
_DIRECTORY = pafs.FileType.Directory
_UNFINISHED = ".unfinished-"
_UNFINISHED_S = 24 * 3600  # no build takes so long: what is older was left by a killed one


@dataclass(frozen=True)
class SnapshotKind:
    """What decides, beside the version, what a snapshot holds."""

    embedder_digest: str
    ann: AnnKind | None
    dense: DenseConfig
    shard: Shard = ALL

    @property
    def key(self) -> str:
        """Of all snapshots that may stand for one another."""
        built = {"ef_construction", "hnsw_links", "hnsw_codes"} if self.ann == "hnsw" else set()
        parts: list[Any] = [_FORMAT, self.embedder_digest, self.ann]
        parts += [self.dense.model_dump(include=built), self.shard.number, self.shard.count]
        return digest(parts)[:16]


def build_snapshot(kb: KnowledgeBase, kind: SnapshotKind, folder: Path) -> None:
    """Writes the index of the version that `kb` is at into a folder on this machine."""
    chunks = kind.shard.part_of(kb.read_chunks([*INDEX_COLUMNS, "embedding"]))
    chunks = ordered_by_row_id(chunks)
    vectors = vector_matrix(chunks["embedding"])
    np.save(folder / _VECTORS, vectors)
    rows = chunks.select(INDEX_COLUMNS)
    with pa.OSFile(str(folder / _ROWS), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=1_000_000)
    if kind.ann is not None:
        AnnIndex.build(kind.ann, vectors, kind.dense).save(folder / _ANN)
    manifest = Manifest(
        kind="index",
        created=utc_now(),
        kb_version=kb.version,
        config={"key": kind.key, "chunks": chunks.num_rows, "ann": kind.ann},
        files={file.name: _sha256(file) for file in sorted(folder.iterdir())},
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def open_snapshot(folder: Path, kind: SnapshotKind) -> MemoryIndex:
    """The index in a folder, mapped into memory.

    Raises:
        ArtifactMismatch: A file is not the one that was written.
    """
    manifest = parse_manifest((folder / MANIFEST).read_bytes(), str(folder))
    for name, expected in manifest.files.items():
        if Path(name).name != name or _sha256(folder / name) != expected:
            raise ArtifactMismatch(f"{folder}/{name}: not the file that was written")
    rows = pa.ipc.open_file(pa.memory_map(str(folder / _ROWS))).read_all()
    vectors = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False)
    ann = None if kind.ann is None else AnnIndex.open(folder / _ANN, kind.ann, kind.dense)
    index = MemoryIndex(rows, np.asarray(vectors), ann, kind.dense, kind.shard)
    index.is_mapped = True
    return index


class Snapshots:
    """The snapshots of one kind in a store."""

    def __init__(self, store: str, kind: SnapshotKind) -> None:
        self.kind = kind
        self._filesystem, root = open_filesystem(store)
        self._folder = f"{root}/{FOLDER}"
        self._local = isinstance(self._filesystem, pafs.LocalFileSystem)

    def latest(self, at_most: int) -> int | None:
        """The newest version, up to `at_most`, that there is a snapshot of."""
        return max((v for v in self._versions() if v <= at_most), default=None)

    def open(self, version: int) -> MemoryIndex:
        """The index of a version, mapped into memory.

        Raises:
            ArtifactMismatch: A file is not the one that was written.
            OSError: It is gone.
        """
        source = f"{self._folder}/{self._name(version)}"
        return open_snapshot(Path(source) if self._local else self._copy(source), self.kind)

    def build(self, kb: KnowledgeBase) -> int:
        """Adds the snapshot of the version that `kb` is at; older ones of its kind go."""
        target = f"{self._folder}/{self._name(kb.version)}"
        self._filesystem.create_dir(self._folder, recursive=True)
        with _working_folder(self._folder if self._local else None) as folder:
            build_snapshot(kb, self.kind, folder)
            if self._local:
                with suppress(FileExistsError, OSError):  # another process was first
                    os.rename(folder, target)
            else:
                self._upload(folder, target)
        self._prune(kb.version)
        return kb.version

    def _upload(self, folder: Path, target: str) -> None:
        self._filesystem.create_dir(target, recursive=True)
        for file in folder.iterdir():
            if file.name != MANIFEST:
                pafs.copy_files(
                    str(file),
                    f"{target}/{file.name}",
                    source_filesystem=pafs.LocalFileSystem(),
                    destination_filesystem=self._filesystem,
                )
        write_file(self._filesystem, f"{target}/{MANIFEST}", (folder / MANIFEST).read_bytes())

    def _copy(self, source: str) -> Path:
        """This machine's copy of a snapshot in a bucket."""
        name = digest([source, self.kind.key])[:24]
        target = Path(tempfile.gettempdir()) / f"rayraft-index-{os.getuid()}" / name
        if not target.is_dir():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            with _working_folder(str(target.parent)) as folder:
                pafs.copy_files(
                    source,
                    str(folder),
                    source_filesystem=self._filesystem,
                    destination_filesystem=pafs.LocalFileSystem(),
                )
                with suppress(OSError):  # another process was first
                    os.rename(folder, target)
        return target

    def _name(self, version: int) -> str:
        return f"{self.kind.key}-v{version}"

    def _versions(self) -> list[int]:
        selector = pafs.FileSelector(self._folder, recursive=True, allow_not_found=True)
        start = f"{self._folder}/{self.kind.key}-v"
        return [
            int(info.path.removeprefix(start).removesuffix(f"/{MANIFEST}"))
            for info in self._filesystem.get_file_info(selector)
            if info.path.startswith(start) and info.base_name == MANIFEST
        ]

    def _prune(self, version: int) -> None:
        # The one before stays: a replica may be opening it. What is mapped lives on until unmapped.
        older = sorted(v for v in self._versions() if v < version)
        gone = [f"{self._folder}/{self._name(old)}" for old in older[:-1]]
        infos = self._filesystem.get_file_info(pafs.FileSelector(self._folder))
        gone += [info.path for info in infos if _is_left_behind(info)]
        for path in gone:
            with suppress(OSError):
                self._filesystem.delete_dir(path)


def _is_left_behind(info: pafs.FileInfo) -> bool:
    """Whether it is what a killed build left."""
    if info.type != _DIRECTORY or not info.base_name.startswith(_UNFINISHED):
        return False
    return info.mtime is not None and time.time() - info.mtime.timestamp() > _UNFINISHED_S


def delete_snapshots(store: str) -> int:
    """Removes all snapshots of a store, which hold texts of old versions; returns how many."""
    filesystem, root = open_filesystem(store)
    selector = pafs.FileSelector(f"{root}/{FOLDER}", allow_not_found=True)
    found = [info for info in filesystem.get_file_info(selector) if info.type == _DIRECTORY]
    for info in found:
        filesystem.delete_dir(info.path)
    return len(found)


@contextmanager
def _working_folder(parent: str | None) -> Iterator[Path]:
    folder = Path(parent or tempfile.gettempdir()) / f"{_UNFINISHED}{uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # renamed away if all went well


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
