"""Reads the examples of a published RAFT run."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.artifacts import ArtifactRef, fetch
from rayraft.manifests import Manifest

SPLITS = ("train", "validation")


def read_run(ref: ArtifactRef) -> tuple[Manifest, dict[str, pa.Table]]:
    """The run's manifest, and the table of each split; rows are `RaftExample`s.

    Raises:
        NotFoundError: There is no such run.
        ArtifactMismatch: A file was changed after publishing.
    """
    with tempfile.TemporaryDirectory(prefix="rayraft-raft-") as folder:
        manifest = fetch(ref, Path(folder))
        tables = {split: pq.read_table(Path(folder) / f"{split}.parquet") for split in SPLITS}
    return manifest, tables
