"""Whether the cluster can hold the workers of a training."""

from data_pipelines.resources import require
from train.worker_settings import WorkerSettings


def check_resources(workers: WorkerSettings) -> None:
    """Compares what the workers need (of a range, the fewest) with what there is.

    Raises:
        ConfigError: This machine alone is the cluster and is too small.
    """
    require(
        f"workers.count={workers.count}",
        cpus=workers.least * workers.cpus_per_worker,
        gpus=workers.least * workers.gpus_per_worker,
    )
