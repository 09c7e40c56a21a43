"""Ray composition of a training run: features by Ray Data, workers by Ray Train."""

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
import ray.train
import ray.train.torch
import torch.distributed as dist
from transformers.utils.logging import disable_progress_bar

from rayraft.errors import ArtifactMismatch, InputError
from rayraft.models.base import base_digest, load_base
from rayraft.records import digest
from train.averaging import WeightMean
from train.checkpoints import STATE, TrainState, gather_weights, save_state
from train.config import TrainConfig, deciding_settings
from train.failures import NoRetryOfOwnErrors, own_errors
from train.features import FEATURES, Row, encode_rows
from train.loop import Hooks, Point, Task, World, run
from train.modeling import export_model, prepare_model
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


@dataclass(frozen=True)
class FitResult:
    """A finished run."""

    metrics: dict[str, float]
    curve: list[Point]
    checkpoint: ray.train.Checkpoint

    def export_to(self, folder: Path) -> Path:
        """Copies the result (adapter files or a whole model) into `folder`."""
        with self.checkpoint.as_directory() as source:
            for path in (Path(source) / EXPORT).iterdir():
                (folder / path.name).write_bytes(path.read_bytes())
        return folder


def fit_rows(
    config: TrainConfig,
    rows: Sequence[Row] | ray.data.Dataset,
    place: RunPlace,
    validation: Sequence[Row] | ray.data.Dataset | None = None,
) -> FitResult:
    """Trains on rows of `messages` and `completion`.

    Raises:
        InputError: No row is left within the length limits.
    """
    return fit_features(
        config,
        _encoded(rows, config),
        place,
        _encoded(validation, config) if validation is not None else None,
    )


def fit_features(
    config: TrainConfig,
    features: ray.data.Dataset,
    place: RunPlace,
    validation: ray.data.Dataset | None = None,
) -> FitResult:
    """Trains on encoded rows (columns of `features.FEATURES`).

    Raises:
        ConfigError: A setting does not fit the model.
        ArtifactMismatch: The run's checkpoint, or a worker's model, is another one.
    """
    # Every worker sees all rows and computes the same plan of them: what a step computes then
    # depends neither on the number of workers nor on who died. The blocks travel as references.
    blocks = {
        "train": features.to_arrow_refs(),
        "validation": validation.to_arrow_refs() if validation is not None else [],
    }
    workers = config.workers
    resources = {"CPU": workers.cpus_per_worker}
    if workers.gpus_per_worker:
        resources["GPU"] = workers.gpus_per_worker
    trainer = ray.train.torch.TorchTrainer(
        train_worker,
        train_loop_config={"config": config.model_dump(), "place": asdict(place), "blocks": blocks},
        torch_config=ray.train.torch.TorchConfig(timeout_s=config.collective_timeout_s),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers.count,
            use_gpu=bool(workers.gpus_per_worker),
            resources_per_worker=resources,
        ),
        run_config=ray.train.RunConfig(
            name=place.name,
            storage_path=place.storage,
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
            callbacks=[NoRetryOfOwnErrors()],  # type: ignore[list-item]  # typed for the old API
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),  # type: ignore[call-arg]
        ),
    )
    with own_errors():
        result = trainer.fit()
    assert result.checkpoint is not None and result.metrics is not None
    with result.checkpoint.as_directory() as folder:
        state = json.loads((Path(folder) / STATE).read_text(encoding="utf-8"))
    return FitResult(dict(result.metrics), state["curve"], result.checkpoint)


def train_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    config = TrainConfig(**settings["config"])
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    _quiet()
    base = load_base(config.base_model, config.precision)
    causal = not base.is_encoder_decoder
    pad = int(base.tokenizer.pad_token_id or 0)
    rows = EncodedRows(_table(settings["blocks"]["train"]), pad, causal)
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
            prepare_model(base, config),
            rows,
            EncodedRows(validation, pad, causal) if validation.num_rows else None,
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


def _table(blocks: list[ray.ObjectRef[pa.Table]]) -> pa.Table:
    return pa.concat_tables([FEATURES.empty_table(), *ray.get(blocks)])


def encode(
    dataset: ray.data.Dataset, function: Callable[..., pa.Table], config: TrainConfig
) -> ray.data.Dataset:
    """Features in the object store, made once by Ray Data and read by every worker.

    Args:
        dataset: What `function` takes.
        function: `features.encode_rows` or `features.encode_examples`.
        config: Of the run.
    """
    batches = partial(function, config=config.model_dump())
    made: ray.data.Dataset = dataset.map_batches(
        batches, batch_format="pyarrow", batch_size=256
    ).materialize()
    return made


def _encoded(rows: Sequence[Row] | ray.data.Dataset, config: TrainConfig) -> ray.data.Dataset:
    dataset = rows if isinstance(rows, ray.data.Dataset) else ray.data.from_items(list(rows))
    features = encode(dataset, encode_rows, config)
    if features.count() == 0:
        raise InputError(
            "training rows: none is left within max_prompt_tokens and max_completion_tokens"
        )
    return features
