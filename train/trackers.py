"""Where a loss curve goes beside its file: TensorBoard's event files, an MLflow server.

Both are written by the first worker. A run that goes on after a failure goes on in them, too.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rayraft.errors import ConfigError
from train.config import TrainConfig

TENSORBOARD = "tensorboard"
"""Folder in the run's folder: `tensorboard --logdir <store>/runs`."""
MLFLOW_URI = "MLFLOW_TRACKING_URI"
EXPERIMENT = "rayraft"


class Tracker(Protocol):
    """Takes the points of a curve as they come."""

    def add(self, point: dict[str, float]) -> None:
        """`point` has a `step` and figures by name."""

    def close(self, finished: bool) -> None:
        """Nothing more comes; `finished` is False where training failed."""


class TensorBoard:
    """Event files in a local folder."""

    def __init__(self, folder: Path, first_step: int) -> None:
        from tensorboardX import SummaryWriter

        # What a killed worker wrote after its last checkpoint is computed once more.
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def add(self, point: dict[str, float]) -> None:
        """Writes one point, so that it is seen at once."""
        for name, value in figures(point).items():
            self._writer.add_scalar(name, value, int(point["step"]))
        self._writer.flush()

    def close(self, finished: bool) -> None:
        """Closes the file."""
        self._writer.close()


class Mlflow:
    """A run on the server that MLFLOW_TRACKING_URI names; found again by its name."""

    def __init__(self, name: str, config: TrainConfig) -> None:
        if not os.environ.get(MLFLOW_URI):
            raise ConfigError(f"trackers=[mlflow]: {MLFLOW_URI} is not set on the workers")
        try:
            import mlflow
        except ImportError as exc:
            raise ConfigError(
                "trackers=[mlflow]: the workers lack the package; pip install mlflow-skinny"
            ) from exc
        self._metric: Any = mlflow.entities.Metric
        self._client: Any = mlflow.MlflowClient()
        known = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else self._client.create_experiment(EXPERIMENT)
        same_name = f"attributes.run_name = '{name}'"
        found = self._client.search_runs([experiment], same_name, max_results=1)
        run = found[0] if found else self._client.create_run(experiment, run_name=name)
        self._run_id = run.info.run_id
        if not found:
            for key, value in flat(config.model_dump(mode="json")).items():
                self._client.log_param(self._run_id, key, value)

    def add(self, point: dict[str, float]) -> None:
        """Sends one point."""
        now, step = int(time.time() * 1000), int(point["step"])
        metrics = [self._metric(k, v, now, step) for k, v in figures(point).items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def close(self, finished: bool) -> None:
        """Says on the server how it ended."""
        self._client.set_terminated(self._run_id, "FINISHED" if finished else "FAILED")


@contextmanager
def tracking(
    config: TrainConfig, folder: Path, name: str, first_step: int
) -> Iterator[list[Tracker]]:
    """The trackers of a run, closed with the block.

    Args:
        config: Of the run.
        folder: Of the run; one in a bucket gets no event files.
        name: Of the run.
        first_step: After which it goes on.

    Raises:
        ConfigError: MLflow is asked for and is not there.
    """
    trackers: list[Tracker] = []
    if "tensorboard" in config.trackers and folder.is_dir():
        trackers.append(TensorBoard(folder / TENSORBOARD, first_step))
    if "mlflow" in config.trackers:
        trackers.append(Mlflow(name, config))
    finished = False
    try:
        yield trackers
        finished = True
    finally:
        for tracker in trackers:
            tracker.close(finished)


def figures(point: dict[str, float]) -> dict[str, float]:
    """The figures of a point as trackers group them: `train/loss`, `validation/loss`."""
    names = {"validation_loss": "validation/loss"}
    left_out = {"step", "total_steps"}
    return {names.get(k, f"train/{k}"): v for k, v in point.items() if k not in left_out}


def flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings as `section.key`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat(value, f"{before}{key}.") if isinstance(value, dict) else {}
        found |= inner or {f"{before}{key}": value}
    return found
