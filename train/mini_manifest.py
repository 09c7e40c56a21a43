"""The manifests of the shipped models: what they were made from, by which run."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from rayraft.errors import InputError
from rayraft.manifests import Manifest
from rayraft.mini.wheel import WHEEL_SHA256
from rayraft.models.model_manifest import write_model_manifest
from rayraft.prompts import prompt_digest
from rayraft.records import digest
from train.mini_config import MiniTraining

MODEL, RERANKER = "model", "reranker"
"""Folders of a finished run: reader and question writer, and the reranker."""
TRAINING, WEIGHTS = "training.json", "model.safetensors"
SET_FILES = ("corpus.jsonl", "queries.train.jsonl")


def write_manifest(data: Path, out: Path, folder: Path) -> Manifest:
    """Writes `manifest.json` into a folder with the files of one of a finished run's models.

    Args:
        data: Folder of question-answering sets that the run was given.
        out: Folder of the run.
        folder: One of the run's models, or a copy of it.

    Raises:
        InputError: The run is not finished, or `folder` holds other weights than it made.
    """
    try:
        record = json.loads((out / TRAINING).read_text(encoding="utf-8"))
        given = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError as exc:
        raise InputError(f"{exc.filename}: missing; is the run finished?") from exc
    name = _made_by(out, given)
    if name is None:
        raise InputError(f"{folder / WEIGHTS}: not the weights that {out} made")
    config = MiniTraining(**record["config"])
    reads, ranks = _sets(config)
    names = reads if name == MODEL else sorted({*reads, *ranks})
    curve = record["curves"][name]
    return write_model_manifest(
        folder,
        Manifest(
            kind="model",
            made_from=[f"minilm@{WHEEL_SHA256}", *(f"data/{name}" for name in names)],
            prompt_digest=prompt_digest(),
            data_digest=data_digest(data, names),
            config=record["config"],
            metrics={key: value for point in curve for key, value in point.items()},
            curve=curve,
        ),
    )


def data_digest(data: Path, sets: Sequence[str]) -> str:
    """Hex sha256 over the files of these question-answering sets.

    Raises:
        InputError: A file is missing.
    """
    sums = {}
    for path in [data / name / file for name in sets for file in SET_FILES]:
        if not path.is_file():
            raise InputError(f"{path}: missing")
        with path.open("rb") as file:
            sums[f"{path.parent.name}/{path.name}"] = hashlib.file_digest(
                file, "sha256"
            ).hexdigest()
    return digest(sums)


def _made_by(out: Path, weights: bytes) -> str | None:
    for name in (MODEL, RERANKER):
        path = out / name / WEIGHTS
        if path.is_file() and path.read_bytes() == weights:
            return name
    return None


def _sets(config: MiniTraining) -> tuple[list[str], list[str]]:
    reads = {settings.name for stage in config.stages for settings in stage.mixture.sets}
    ranks = {settings.name for settings in config.reranker.sets} if config.reranker else set()
    return sorted(reads), sorted(ranks)
