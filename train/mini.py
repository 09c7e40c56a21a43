"""Trains the shipped model from the MiniLM wheel: rows, initial weights, and the common loop."""

import json
import logging
from pathlib import Path

from rayraft.mini.tokenizer import build_tokenizer
from rayraft.mini.wheel import initial_model
from rayraft.records import digest
from train.features import Row
from train.fit import FitResult, RunPlace, fit_rows
from train.mini_config import MiniTraining, Mixture
from train.mini_rows import RowWriter, read_source

logger = logging.getLogger(__name__)

VALIDATION_ROWS = 400
INITIAL = "initial"
"""Folder of the untrained model within the run."""


def mixture_rows(data: Path, mixture: Mixture, count: int, validation: bool) -> list[Row]:
    """The first `count` rows of the training or the held-out mixture."""
    sources = [read_source(data, settings, mixture, validation) for settings in mixture.sets]
    writer = RowWriter(sources, mixture)
    return [writer.row(index) for index in range(count)]


def train_mini(config: MiniTraining, data: Path, out: Path, base: Path | None = None) -> FitResult:
    """Trains and writes the model to `out`/model; an interrupted run of the same `out` resumes.

    Args:
        config: Mixture and schedule.
        data: Folder of question-answering sets (see `mini_config.DataSet`).
        out: Folder of the run.
        base: Weights to go on from; the wheel's by default.
    """
    start = base or _initial(out / INITIAL)
    settings = config.train.model_copy(update={"base_model": str(start.resolve())})
    rows = mixture_rows(data, config.mixture, config.mixture.rows, validation=False)
    held_out = mixture_rows(data, config.mixture, VALIDATION_ROWS, validation=True)
    name = f"mini-{digest([config.model_dump(), str(start)])[:8]}"
    result = fit_rows(settings, rows, RunPlace(str((out / "runs").resolve()), name), held_out)
    model = out / "model"
    model.mkdir(parents=True, exist_ok=True)
    result.export_to(model)
    (model / "training.json").write_text(
        json.dumps({"config": config.model_dump(), "curve": result.curve}, indent=1)
    )
    return result


def _initial(folder: Path) -> Path:
    if not (folder / "model.safetensors").is_file():
        initial_model().save_pretrained(folder)
        build_tokenizer().save_pretrained(folder)
    return folder
