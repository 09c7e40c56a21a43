"""Whether the cluster can hold the workers: Ray Train would wait for ever without a word."""

import logging
import os

import ray

from rayraft.errors import ConfigError
from train.config import WorkerSettings

logger = logging.getLogger(__name__)


def check_resources(workers: WorkerSettings) -> None:
    """Compares what the workers need with what there is.

    Raises:
        ConfigError: This machine alone is the cluster and is too small.
    """
    needed = {
        "CPU": workers.count * workers.cpus_per_worker,
        "GPU": workers.count * workers.gpus_per_worker,
    }
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for kind, amount in needed.items():
        if amount <= there.get(kind, 0):
            continue
        message = (
            f"workers.count={workers.count}: needs {amount:g} {kind}, "
            f"the cluster has {there.get(kind, 0):g}"
        )
        if not os.environ.get("RAY_ADDRESS"):
            raise ConfigError(message)
        logger.warning("%s; waiting until it grows", message)
