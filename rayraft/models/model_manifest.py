"""The manifest of a whole model's folder: written after training, verified before loading."""

import functools
from pathlib import Path

import rayraft
from rayraft.errors import ArtifactMismatch
from rayraft.manifests import MANIFEST, Manifest, check_file, parse_manifest, sha256
from rayraft.provenance import code_commit, utc_now


def write_model_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Writes `manifest` with the sums of the folder's files, and returns it."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST)
    complete = manifest.model_copy(
        update={
            "kind": "model",
            "created": utc_now(),
            "commit": code_commit(),
            "rayraft_version": rayraft.__version__,
            "files": {path.name: sha256(path.read_bytes()) for path in files},
        }
    )
    (folder / MANIFEST).write_text(complete.to_json(), encoding="utf-8")
    return complete


@functools.cache
def verify_model(folder: Path) -> Manifest:
    """The folder's manifest; its files are read once a process (40 MB take 0.06 s).

    Raises:
        ArtifactMismatch: There is no manifest, it is not a model's, or a file is another one.
    """
    try:
        manifest = parse_manifest((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
        if manifest.kind != "model":
            raise ArtifactMismatch(f"{folder}: kind is {manifest.kind}, not model")
        for name in manifest.files:
            check_file(manifest, name, (folder / name).read_bytes(), str(folder))
    except FileNotFoundError as exc:
        raise ArtifactMismatch(f"model {folder}: {Path(exc.filename).name} is missing") from exc
    return manifest
