"""Whether the cluster can hold what is asked for: Ray would wait for ever without a word."""

import logging
import os

import ray

from rayraft.errors import ConfigError

logger = logging.getLogger(__name__)


def require(what: str, *, cpus: float, gpus: float = 0) -> None:
    """Compares what is needed at one time with what the cluster has.

    Args:
        what: The setting and its value, as a person wrote it.
        cpus: Needed.
        gpus: Needed.

    Raises:
        ConfigError: This machine alone is the cluster and is too small.
    """
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for kind, amount in {"CPU": cpus, "GPU": gpus}.items():
        if amount <= there.get(kind, 0):
            continue
        message = f"{what}: needs {amount:g} {kind}, the cluster has {there.get(kind, 0):g}"
        if not os.environ.get("RAY_ADDRESS"):
            raise ConfigError(message)
        logger.warning("%s; waiting until it grows", message)


def count_actors(
    wanted: int | None, what: str, *, cpus: float, gpus: float = 0, at_most: int = 16
) -> int:
    """`wanted`, or as many actors as the cluster has CPUs for; each holds models and index.

    Args:
        wanted: The configured number, None if it is left open.
        what: The setting that says what one actor needs, with its value.
        cpus: Of one actor.
        gpus: Of one actor.
        at_most: Where the number is left open.

    Raises:
        ConfigError: Not even one fits on this machine, which alone is the cluster.
    """
    require(what, cpus=cpus, gpus=gpus)
    if wanted is not None:
        return wanted
    there: float = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
    return max(1, min(at_most, int(there // cpus)))
