"""Artifacts on a folder or bucket: publish, list, fetch, verify and delete.

An artifact exists once its `manifest.json` does, which is written last; what a killed publisher
left behind is skipped by readers. Knows nothing about what the files mean.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

import rayraft
from data_pipelines.stores import open_filesystem, write_file
from rayraft.adapter_ids import ADAPTER_NAME
from rayraft.errors import ConcurrentWrite, InputError, NotFoundError
from rayraft.manifests import MANIFEST, Kind, Manifest, check_file, parse_manifest, sha256
from rayraft.provenance import code_commit, utc_now

FOLDERS: dict[Kind, str] = {
    "adapter": "adapters",
    "raft": "raft",
    "eval": "evals",
    "router": "routers",
    "refresh": "refreshes",
    "comparison": "comparisons",
    "reranker": "rerankers",
    "embedder": "embedders",
}
NUMBERED: frozenset[Kind] = frozenset({"adapter", "reranker", "embedder"})
"""Kinds of which one name has numbered versions: `<folder>/<name>/<n>/`."""
DELETED = "deleted.json"
"""In the folder of a deleted artifact, so that its number stays taken."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,95}")
_ADAPTER_NAME = re.compile(ADAPTER_NAME)


@dataclass(frozen=True)
class ArtifactRef:
    """A published artifact."""

    store: str
    kind: Kind
    name: str
    version: int | None = None
    """Of numbered kinds, from 1."""

    @property
    def artifact_id(self) -> str:
        """`name-vN`, or the bare name where there are no numbers."""
        return self.name if self.version is None else f"{self.name}-v{self.version}"

    @property
    def uri(self) -> str:
        """Where its files are."""
        return f"{self.store.rstrip('/')}/{_folder(self)}"


def publish(
    store: str, kind: Kind, name: str, files: Mapping[str, bytes | Path], manifest: Manifest
) -> ArtifactRef:
    """Writes the files, then the manifest with their sums; numbered kinds get the next number.

    Raises:
        InputError: The name is not allowed, or a run of this name exists.
        ConcurrentWrite: Other publishers took every number that was tried.
    """
    check_name(kind, name)
    if MANIFEST in files:
        raise InputError(f"{kind} {name}: {MANIFEST} is written by publishing")
    filesystem, root = open_filesystem(store)
    ref = _claim(filesystem, root, ArtifactRef(store, kind, name))
    folder = f"{root}/{_folder(ref)}"
    contents = {n: c.read_bytes() if isinstance(c, Path) else c for n, c in files.items()}
    for file_name, content in contents.items():
        write_file(filesystem, f"{folder}/{file_name}", content)
    complete = manifest.model_copy(
        update={
            "kind": kind,
            "created": utc_now(),
            "commit": code_commit(),
            "rayraft_version": rayraft.__version__,
            "files": {file_name: sha256(content) for file_name, content in contents.items()},
        }
    )
    write_file(filesystem, f"{folder}/{MANIFEST}", complete.to_json().encode())
    return ref


def listing(store: str, kind: Kind, name: str | None = None) -> list[ArtifactRef]:
    """The artifacts of a kind (and name): by name, then by number."""
    filesystem, root = open_filesystem(store)
    depth = 2 if kind in NUMBERED else 1
    selector = pafs.FileSelector(f"{root}/{FOLDERS[kind]}", recursive=True, allow_not_found=True)
    refs = []
    for info in filesystem.get_file_info(selector):
        parts = info.path.removeprefix(f"{root}/{FOLDERS[kind]}/").split("/")
        if info.base_name != MANIFEST or len(parts) != depth + 1:
            continue
        if kind not in NUMBERED:
            refs.append(ArtifactRef(store, kind, parts[0]))
        elif parts[1].isdecimal():
            refs.append(ArtifactRef(store, kind, parts[0], int(parts[1])))
    chosen = [ref for ref in refs if name is None or ref.name == name]
    return sorted(chosen, key=lambda ref: (ref.name, ref.version or 0))


def latest(store: str, kind: Kind, name: str | None = None) -> ArtifactRef:
    """The highest number of a name; without a name (or number) the one published last.

    Raises:
        NotFoundError: There is none; names what there is.
    """
    refs = listing(store, kind, name)
    if not refs:
        raise NotFoundError(_missing(store, kind, name))
    if kind in NUMBERED and name is not None:
        return refs[-1]
    return max(refs, key=lambda ref: (read_manifest(ref).created, ref.version or 0, ref.name))


def find(store: str, kind: Kind, artifact_id: str) -> ArtifactRef:
    """The artifact with this id: `name-vN`, or a bare name for its highest number.

    Raises:
        NotFoundError: There is none; names what there is.
    """
    refs = listing(store, kind)
    exact = [ref for ref in refs if ref.artifact_id == artifact_id]
    named = [ref for ref in refs if ref.name == artifact_id]
    if not exact and not named:
        raise NotFoundError(_missing(store, kind, artifact_id))
    return (exact or named)[-1]


def read_manifest(ref: ArtifactRef) -> Manifest:
    """The manifest alone.

    Raises:
        NotFoundError: The artifact does not exist.
        ArtifactMismatch: The manifest cannot be read.
    """
    return parse_manifest(read_file(ref, MANIFEST), f"{ref.uri}/{MANIFEST}")


def read_file(ref: ArtifactRef, name: str) -> bytes:
    """One file of an artifact, not verified.

    Raises:
        NotFoundError: It does not exist.
    """
    filesystem, root = open_filesystem(ref.store)
    try:
        with filesystem.open_input_stream(f"{root}/{_folder(ref)}/{name}") as stream:
            return bytes(stream.read())
    except FileNotFoundError as exc:
        # Without its manifest there is no artifact at all.
        what = ref.artifact_id if name == MANIFEST else f"{ref.artifact_id}/{name}"
        raise NotFoundError(_missing(ref.store, ref.kind, what)) from exc


def fetch(ref: ArtifactRef, to: Path) -> Manifest:
    """Copies all files and the manifest into the folder `to`.

    Raises:
        NotFoundError: The artifact or one of its files does not exist.
        ArtifactMismatch: A file is not the one that was published.
    """
    manifest = read_manifest(ref)
    to.mkdir(parents=True, exist_ok=True)
    for name in manifest.files:
        if Path(name).name != name:
            raise InputError(f"{ref.uri}: file name {name!r} in the manifest leaves the folder")
        data = read_file(ref, name)
        check_file(manifest, name, data, ref.uri)
        (to / name).write_bytes(data)
    (to / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def delete(ref: ArtifactRef) -> None:
    """Removes an artifact's files; its number is not given to another one.

    Raises:
        NotFoundError: It does not exist.
    """
    manifest = read_manifest(ref)
    filesystem, root = open_filesystem(ref.store)
    folder = f"{root}/{_folder(ref)}"
    filesystem.delete_file(f"{folder}/{MANIFEST}")  # first: from here on nobody sees the others
    for name in manifest.files:
        filesystem.delete_file(f"{folder}/{name}")
    write_file(filesystem, f"{folder}/{DELETED}", f'{{"deleted": "{utc_now()}"}}\n'.encode())


def check_name(kind: Kind, name: str) -> None:
    """Whether a kind of artifact may have this name.

    Raises:
        InputError: It may not; names the pattern.
    """
    pattern = _ADAPTER_NAME if kind in NUMBERED else _NAME
    if not pattern.fullmatch(name):
        raise InputError(f"{kind} name {name!r}: must match {pattern.pattern}")


def _claim(filesystem: Any, root: str, ref: ArtifactRef) -> ArtifactRef:
    """The artifact with its number; its folder exists and is this publisher's."""
    if ref.kind not in NUMBERED:
        if listing(ref.store, ref.kind, ref.name):
            raise InputError(f"{ref.kind} {ref.name!r}: {ref.uri} exists; choose another name")
        filesystem.create_dir(f"{root}/{_folder(ref)}", recursive=True)
        return ref
    parent = f"{root}/{FOLDERS[ref.kind]}/{ref.name}"
    filesystem.create_dir(parent, recursive=True)
    for _ in range(100):
        taken = filesystem.get_file_info(pafs.FileSelector(parent))
        numbers = [int(info.base_name) for info in taken if info.base_name.isdecimal()]
        number = max(numbers, default=0) + 1
        if isinstance(filesystem, pafs.LocalFileSystem):
            # Making a folder is atomic; a bucket has no such thing: one publisher a name there.
            try:
                os.mkdir(f"{parent}/{number}")
            except FileExistsError:
                continue
        return ArtifactRef(ref.store, ref.kind, ref.name, number)
    raise ConcurrentWrite(f"{ref.kind} {ref.name!r}: others publish it all the time; try again")


def _folder(ref: ArtifactRef) -> str:
    number = [] if ref.version is None else [str(ref.version)]
    return "/".join([FOLDERS[ref.kind], ref.name, *number])


def _missing(store: str, kind: Kind, name: str | None) -> str:
    there = ", ".join(ref.artifact_id for ref in listing(store, kind)[:20])
    what = f"no {kind}" if name is None else f"no {kind} {name!r}"
    return f"{store}: {what}; there is {there}" if there else f"{store}: {what}, there is none yet"
