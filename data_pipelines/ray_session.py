"""A Ray for the length of one command: the cluster that is there, else one on this machine."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data

logger = logging.getLogger(__name__)


@contextmanager
def ray_session() -> Iterator[None]:
    """Joins the cluster named by RAY_ADDRESS (set in Ray jobs) or starts Ray on this machine.

    A Ray that this process runs already is used and left running. Ray Data's own progress bars
    and plans are off: the commands show a bar of their own.
    """
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    if ray.is_initialized():
        yield
        return
    with warnings.catch_warnings():
        # Ray's processes are forked and become other programs at once: none uses our Lance.
        warnings.filterwarnings("ignore", message="lance is not fork-safe")
        ray.init(include_dashboard=False, logging_level=logging.WARNING)
    try:
        yield
    finally:
        ray.shutdown()


def cluster_actors(cpus_per_actor: float, at_most: int = 16) -> int:
    """As many actors as the cluster has CPUs for; each holds models and index in memory."""
    cpus: float = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
    return max(1, min(at_most, int(cpus // cpus_per_actor)))
