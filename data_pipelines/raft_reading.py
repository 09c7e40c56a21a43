"""Reads the examples of a published RAFT run."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.artifacts import ArtifactRef, fetch

SPLITS = ("train", "validation")


def read_run(ref: ArtifactRef) -> dict[str, pa.Table]:
    """The table of each of a run's splits; rows are `RaftExample`s.

    Raises:
        NotFoundError: There is no such run.
        ArtifactMismatch: A file was changed after publishing.
    """
    with tempfile.TemporaryDirectory(prefix="rayraft-raft-") as folder:
        fetch(ref, Path(folder))
        return {split: pq.read_table(Path(folder) / f"{split}.parquet") for split in SPLITS}
