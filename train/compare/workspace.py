"""Copies of a store that a comparison may write into; the user's own store is only read.

A copy is a folder below `<store>/workspaces/`. It exists once its mark does, which is written last.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.fs as pafs

from data_pipelines import artifacts
from data_pipelines.artifacts import ArtifactRef
from data_pipelines.champions import Role, roles_of
from data_pipelines.leftovers import WORKSPACES
from data_pipelines.stores import exists, open_filesystem, store_uri, write_file
from rayraft.errors import InputError
from rayraft.manifests import check_adapter
from rayraft.models.base_files import base_digest
from rayraft.prompts import prompt_digest

MARK = "copied"


def copy_store(store: str, into: str, name: str, parts: Sequence[str]) -> tuple[str, bool]:
    """The store `<into>/workspaces/<name>`, with these folders of `store` in it.

    Returns:
        Its URI, and whether it was made now.
    """
    target = f"{store_uri(into)}/{WORKSPACES}/{name}"
    source_fs, source_root = open_filesystem(store)
    target_fs, target_root = open_filesystem(target)
    if exists(target_fs, f"{target_root}/{MARK}"):
        return target, False
    for part in parts:
        if exists(target_fs, f"{target_root}/{part}"):
            target_fs.delete_dir(f"{target_root}/{part}")  # of a copy that was killed
        if exists(source_fs, f"{source_root}/{part}"):
            target_fs.create_dir(f"{target_root}/{part}", recursive=True)
            pafs.copy_files(
                f"{source_root}/{part}",
                f"{target_root}/{part}",
                source_filesystem=source_fs,
                destination_filesystem=target_fs,
            )
    return target, True


def mark_whole(store: str) -> None:
    """Says that a copy, and what was planted in it, is complete."""
    filesystem, root = open_filesystem(store)
    write_file(filesystem, f"{root}/{MARK}", b"")


def copy_adapter(
    store: str, adapter_id: str, target: str, role: Role, base_model: str
) -> ArtifactRef:
    """Publishes an adapter of `store` in `target` under its role's name, or finds it there.

    Raises:
        NotFoundError: There is no such adapter.
        InputError: It was trained for another role.
        ArtifactMismatch: It belongs to another base model or other prompts, or was changed.
    """
    ref = artifacts.find(store, "adapter", adapter_id)
    with TemporaryDirectory() as folder:
        manifest = artifacts.fetch(ref, Path(folder))
        check_adapter(manifest, base_digest(base_model), prompt_digest(), ref.artifact_id)
        if role not in roles_of(manifest):
            method = manifest.config.get("method")
            raise InputError(
                f"adapter_{role}={adapter_id}: method {method} trains for another role"
            )
        for there in artifacts.listing(target, "adapter", role):
            if artifacts.read_manifest(there).files == manifest.files:
                return there
        files: dict[str, bytes | Path] = {file: Path(folder, file) for file in manifest.files}
        return artifacts.publish(target, "adapter", role, files, manifest)
