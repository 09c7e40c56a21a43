"""Whole models that were published in a store, as folders that loaders take.

Where a setting names a model, `name-vN` means the store's artifact of that id; everything else (a
shipped model, a folder, an id of the hub) stays what it is.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

import pyarrow.fs as pafs

from data_pipelines.artifacts import ArtifactRef, fetch, find, read_manifest
from data_pipelines.stores import open_filesystem
from rayraft.manifests import Kind, check_file
from rayraft.records import digest

_ID = re.compile(r"[a-z0-9][a-z0-9-]*-v\d+")
CACHE = Path("~/.cache/rayraft/models")


def is_artifact_id(name: str) -> bool:
    """Whether a setting with this name means a model that a store published."""
    return _ID.fullmatch(name) is not None and not Path(name).is_dir()


def model_source(store: str, kind: Kind, name: str) -> str:
    """What a loader is given for the model that a setting names.

    Args:
        store: Folder or URI.
        kind: Of the artifact.
        name: Of the model, as in the configuration.

    Raises:
        NotFoundError: It is an artifact's id, and the store has no such artifact.
        ArtifactMismatch: A file is not the one that was published.
    """
    if not is_artifact_id(name):
        return name
    return str(model_folder(find(store, kind, name)))


def model_folder(ref: ArtifactRef) -> Path:
    """A local folder with a published model's files, verified.

    A store in a folder is read where it is; one in a bucket is copied into the user's cache once.

    Raises:
        ArtifactMismatch: A file is not the one that was published.
    """
    manifest = read_manifest(ref)
    filesystem, root = open_filesystem(ref.store)
    if isinstance(filesystem, pafs.LocalFileSystem):
        folder = Path(root) / Path(ref.uri).relative_to(ref.store.rstrip("/"))
    else:
        folder = CACHE.expanduser() / digest([ref.uri, manifest.files])[:32]
        if not folder.is_dir():
            _copy(ref, folder)
    for name in manifest.files:
        check_file(manifest, name, (folder / name).read_bytes(), str(folder))
    return folder


def _copy(ref: ArtifactRef, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = tempfile.mkdtemp(dir=folder.parent)
    try:
        fetch(ref, Path(part))
        os.replace(part, folder)
    except OSError:
        if not folder.is_dir():  # another process was faster
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
