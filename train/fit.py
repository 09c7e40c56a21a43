"""Ray composition of a training run: features by Ray Data, workers by Ray Train."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import pyarrow as pa
import ray
import ray.data
import ray.train
import ray.train.torch

from rayraft.errors import ConfigError, InputError
from train.config import TrainConfig
from train.failures import NoRetryOfOwnErrors, again_without_controller, own_errors
from train.features import Row, encode_rows
from train.run_files import EXPORT, STATE, Point, RunPlace
from train.worker_settings import WorkerSettings


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


def fit_features(  # noqa: PLR0913 - the last two are rarely said
    config: TrainConfig,
    features: ray.data.Dataset,
    place: RunPlace,
    validation: ray.data.Dataset | None = None,
    start: bytes | None = None,
    callbacks: Sequence[ray.train.UserCallback] = (),
) -> FitResult:
    """Trains on encoded rows (columns of `features.FEATURES`).

    Args:
        config: Of the run.
        features: Training rows.
        place: Where the run is kept.
        validation: Held-out rows.
        start: An adapter's safetensors file that training begins with.
        callbacks: Ray Train's, told of each checkpoint.

    Raises:
        ConfigError: A setting does not fit the model, or early stopping has no validation rows.
        ArtifactMismatch: The run's checkpoint, or a worker's model, is another one, or `start` does
            not fit the model.
    """
    _check_validation(config, validation)
    # Every worker sees all rows and computes the same plan of them: what a step computes then
    # depends neither on the number of workers nor on who died. The blocks travel as references.
    blocks = {
        "train": features.to_arrow_refs(),
        "validation": validation.to_arrow_refs() if _has_rows(validation) else [],
        "start": [ray.put(start)] if start is not None else [],
    }
    trainer = ray.train.torch.TorchTrainer(
        train_worker,
        train_loop_config={"config": config.model_dump(), "place": asdict(place), "blocks": blocks},
        torch_config=ray.train.torch.TorchConfig(timeout_s=config.collective_timeout_s),
        scaling_config=_scaling(config.workers),
        run_config=_run_config(config, place, callbacks),
    )
    with own_errors():
        result = again_without_controller(trainer.fit, config.max_failures)
    assert result.checkpoint is not None and result.metrics is not None
    with result.checkpoint.as_directory() as folder:
        state = json.loads((Path(folder) / STATE).read_text(encoding="utf-8"))
    return FitResult(dict(result.metrics), state["curve"], result.checkpoint)


def train_worker(settings: dict[str, Any]) -> None:
    """What each worker runs: `train.worker.train_worker`."""
    # What it imports takes a core ten seconds: driver and controller do without it.
    import train.worker

    train.worker.train_worker(settings)


def _has_rows(rows: ray.data.Dataset | None) -> TypeGuard[ray.data.Dataset]:
    return rows is not None and rows.count() > 0


def _run_config(
    config: TrainConfig, place: RunPlace, callbacks: Sequence[ray.train.UserCallback]
) -> ray.train.RunConfig:
    return ray.train.RunConfig(
        name=place.name,
        storage_path=place.storage,
        failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
        # Typed for the old API.
        callbacks=[NoRetryOfOwnErrors(), *callbacks],  # type: ignore[list-item]
        checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        logging_config=ray.train.LoggingConfig(log_level="WARNING"),  # type: ignore[call-arg]
    )


def _check_validation(config: TrainConfig, validation: ray.data.Dataset | None) -> None:
    if config.early_stopping_patience is not None and validation is None:
        raise ConfigError(
            f"early_stopping_patience={config.early_stopping_patience}: there are no validation "
            "rows; write the RAFT examples with validation_fraction above 0"
        )


def _scaling(workers: WorkerSettings) -> ray.train.ScalingConfig:
    resources = {"CPU": workers.cpus_per_worker}
    if workers.gpus_per_worker:
        resources["GPU"] = workers.gpus_per_worker
    count = (workers.least, workers.most) if workers.is_elastic else workers.least
    return ray.train.ScalingConfig(
        num_workers=count,  # type: ignore[arg-type]  # typed for the old API
        use_gpu=bool(workers.gpus_per_worker),
        resources_per_worker=resources,
    )


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
