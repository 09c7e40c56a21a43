"""What each Ray Train worker runs: model and rows, the loop, its checkpoints and its result."""

import json
import logging
import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.train
import torch
import torch.distributed as dist
from transformers.utils.logging import disable_progress_bar

from rayraft.errors import ArtifactMismatch
from rayraft.models.base import BaseModel, base_digest, load_base
from rayraft.records import digest
from train.averaging import WeightMean
from train.checkpoints import TrainState, gather_weights, save_state
from train.config import TrainConfig, deciding_settings
from train.features import FEATURES
from train.loop import Hooks, Point, Task, World, run
from train.modeling import begin_with, export_model, prepare_model
from train.rows import EncodedRows

logger = logging.getLogger(__name__)

EXPORT = "export"
"""Folder in the last checkpoint: adapter or whole model."""
CURVE = "curve.jsonl"
"""File in the run's folder, one point a line; a run that was resumed may repeat steps."""


@dataclass(frozen=True)
class RunPlace:
    """Where Ray Train keeps a run; an existing name is resumed."""

    storage: str
    name: str


def train_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    config = TrainConfig(**settings["config"])
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    _quiet()
    base = load_base(config.base_model, config.precision)
    causal = not base.is_encoder_decoder
    pad = int(base.tokenizer.pad_token_id or 0)
    rows = EncodedRows(_table(settings["blocks"]["train"]), pad, causal, config.packing)
    validation = _table(settings["blocks"]["validation"])
    fingerprint = _fingerprint(config, rows)
    _same_everywhere(fingerprint)
    place = RunPlace(**settings["place"])
    with ExitStack() as stack:
        checkpoint = ray.train.get_checkpoint()
        folder = stack.enter_context(checkpoint.as_directory()) if checkpoint else None
        mean = WeightMean.load(Path(folder) if folder else None)
        hooks = Hooks(
            on_point=lambda point: _show(point, place, world),
            on_checkpoint=partial(_report, mean=mean, config=config),
        )
        task = Task(
            config,
            _prepared(base, config, settings["blocks"]["start"]),
            rows,
            EncodedRows(validation, pad, causal, config.packing) if validation.num_rows else None,
            fingerprint,
            Path(folder) if folder else None,
        )
        run(task, world, hooks)


def _report(
    metrics: Point, state: TrainState, engine: Any, mean: WeightMean, config: TrainConfig
) -> None:
    is_first = ray.train.get_context().get_world_rank() == 0
    averaged = config.average_from_step is not None and state.step >= config.average_from_step
    last = state.step == state.total_steps
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_state(engine, state, folder, writes=is_first)
        weights = gather_weights(engine) if averaged or last else {}
        if averaged and is_first:
            mean.add(weights)
            mean.save(folder)
        if last and is_first:
            (folder / EXPORT).mkdir()
            made = mean.tensors if averaged else weights
            export_model(engine.module, made, config, folder / EXPORT)
        checkpoint = ray.train.Checkpoint.from_directory(folder) if is_first else None
        ray.train.report(metrics, checkpoint=checkpoint)


def _quiet() -> None:
    # A worker's output appears on the terminal of whoever started the run.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("train").setLevel(logging.INFO)
    for name in ("DeepSpeed", "ray.train"):
        logging.getLogger(name).setLevel(logging.WARNING)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.simplefilter("ignore", FutureWarning)  # torch's, about names that DeepSpeed uses


def _show(point: Point, place: RunPlace, world: World) -> None:
    if not world.is_first:
        return
    logger.info(" ".join(f"{key}={value:.6g}" for key, value in point.items()))
    folder = Path(place.storage) / place.name
    if folder.is_dir():  # a bucket has the curve in its checkpoints only
        with (folder / CURVE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(point) + "\n")


def _fingerprint(config: TrainConfig, rows: EncodedRows) -> str:
    """Digest of all that decides what a step computes."""
    return digest([deciding_settings(config), base_digest(config.base_model), rows.digest()])


def _same_everywhere(fingerprint: str) -> None:
    seen: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(seen, fingerprint)
    if len(set(seen)) > 1:
        raise ArtifactMismatch("workers do not have the same base model and rows")


def _prepared(
    base: BaseModel, config: TrainConfig, start: list[ray.ObjectRef[bytes]]
) -> torch.nn.Module:
    model = prepare_model(base, config)
    for weights in ray.get(start):
        begin_with(model, weights, f"start_from={config.start_from}")
    return model


def _table(blocks: list[ray.ObjectRef[pa.Table]]) -> pa.Table:
    return pa.concat_tables([FEATURES.empty_table(), *ray.get(blocks)])
