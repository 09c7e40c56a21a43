"""Reads the rows of a published evaluation."""

import io

import pyarrow.parquet as pq

from data_pipelines.artifacts import ArtifactRef, read_file
from train.eval_rows import EvalRow


def read_eval_rows(ref: ArtifactRef) -> list[EvalRow]:
    """Every question in every mode.

    Raises:
        NotFoundError: There is no such evaluation.
    """
    table = pq.read_table(io.BytesIO(read_file(ref, "rows.parquet")))
    return [EvalRow.model_validate(row) for row in table.to_pylist()]
