"""What each Ray Train worker runs: model and rows, the loop, its checkpoints and its result."""

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
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
from rayraft.models.base import BaseModel
from rayraft.models.base_files import base_digest
from rayraft.records import digest
from train.averaging import BestWeights, WeightMean
from train.checkpoints import TrainState, gather_weights, resumed_step, save_state
from train.config import TrainConfig, deciding_settings
from train.loop import Hooks, Task, World, run
from train.modeling import begin_with, export_model, load_to_train, prepare_model
from train.precision import settled
from train.rows import EncodedRows
from train.run_files import CURVE, EXPORT, Point, RunPlace
from train.trackers import Tracker, tracking

logger = logging.getLogger(__name__)


def train_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    told = TrainConfig(**settings["config"])
    config = settled(told, "cuda" if told.workers.gpus_per_worker else "cpu")
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    _quiet()
    base = load_to_train(config)
    causal = not base.is_encoder_decoder
    pad = int(base.tokenizer.pad_token_id or 0)
    blocks = settings["blocks"]
    rows = {
        split: EncodedRows(_tables(blocks[split]), pad, causal, config.packing)
        for split in ("train", "validation")
        if blocks[split]
    }
    fingerprint = _fingerprint(told, rows["train"])
    _same_everywhere(fingerprint)
    place = RunPlace(**settings["place"])
    with ExitStack() as stack:
        checkpoint = ray.train.get_checkpoint()
        folder = Path(stack.enter_context(checkpoint.as_directory())) if checkpoint else None
        kept = _Kept(WeightMean.load(folder), BestWeights.load(folder))
        run_folder = Path(place.storage) / place.name
        trackers: list[Tracker] = []
        if world.is_first:
            at = resumed_step(folder)
            trackers = stack.enter_context(tracking(config, run_folder, place.name, at))
        hooks = Hooks(
            on_point=lambda point: _show(point, place, world, trackers),
            on_checkpoint=partial(_report, kept=kept, config=config),
            on_best=partial(_keep_best, kept=kept),
            is_preempted=_Notices(),
        )
        task = Task(
            config,
            _prepared(base, config, blocks["start"]),
            rows["train"],
            rows.get("validation"),
            fingerprint,
            folder,
        )
        run(task, world, hooks)


@dataclass(frozen=True)
class _Kept:
    """Weights that the first worker keeps for the result."""

    mean: WeightMean
    best: BestWeights


class _Notices:
    """Whether Ray says that nodes of this run are about to be taken away. Collective."""

    def __init__(self) -> None:
        self._known: list[str] = []

    def __call__(self) -> bool:
        info = ray.train.get_preemption_info()
        leaving = info.preempted_node_ids if info else []
        is_news = leaving != self._known and bool(leaving)
        self._known = leaving
        if is_news:
            logger.warning("%d nodes are about to be taken away: checkpoint", len(leaving))
        return is_news


def _keep_best(engine: Any, kept: _Kept) -> None:
    weights = gather_weights(engine)
    if ray.train.get_context().get_world_rank() == 0:
        kept.best.tensors = weights


def _report(
    metrics: Point, state: TrainState, engine: Any, kept: _Kept, config: TrainConfig
) -> None:
    is_first = ray.train.get_context().get_world_rank() == 0
    averaged = config.average_from_step is not None and state.step >= config.average_from_step
    last = state.step == state.total_steps
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_state(engine, state, folder, writes=is_first)
        weights = gather_weights(engine) if averaged or last else {}
        if is_first:
            kept.best.save(folder)
        if averaged and is_first:
            kept.mean.add(weights)
            kept.mean.save(folder)
        if last and is_first:
            (folder / EXPORT).mkdir()
            made = kept.best.tensors or (kept.mean.tensors if averaged else weights)
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


def _show(point: Point, place: RunPlace, world: World, trackers: Sequence[Tracker] = ()) -> None:
    if not world.is_first:
        return
    logger.info(" ".join(f"{key}={value:.6g}" for key, value in point.items()))
    folder = Path(place.storage) / place.name
    if folder.is_dir():  # a bucket has the curve in its checkpoints only
        with (folder / CURVE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(point) + "\n")
    for tracker in trackers:
        tracker.add(point)


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


def _tables(blocks: Sequence[ray.ObjectRef[pa.Table]]) -> Iterator[pa.Table]:
    """One block after the other: none is held for longer than it takes to write its rows down."""
    for block in blocks:
        yield ray.get(block)
