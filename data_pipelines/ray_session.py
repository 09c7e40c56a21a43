"""A Ray for the length of one command: the cluster that is there, else one on this machine."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data

from rayraft.errors import ClusterError

logger = logging.getLogger(__name__)


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for a command, as `start_ray` gives it; one that runs already is left running.

    Ray Data's own progress bars and plans are off: the commands show a bar of their own.

    Raises:
        ClusterError: Ray could not be started or reached.
    """
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # It warns once a process that its bars are off, which is on purpose.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    if ray.is_initialized():
        yield
        return
    start_ray()
    try:
        yield
    finally:
        ray.shutdown()


def start_ray(namespace: str | None = None) -> bool:
    """Joins the cluster named by RAY_ADDRESS (set in Ray jobs) or starts Ray on this machine.

    What workers print is shown with RAYRAFT_LOG_LEVEL=INFO or DEBUG; their errors reach the command
    as exceptions in any case.

    Returns:
        Whether Ray was started here; False where a cluster was joined, which others may use, too.

    Raises:
        ClusterError: Ray could not be started or reached.
    """
    address = os.environ.get("RAY_ADDRESS", "local")
    # A local Ray has token authentication by default, and warns of it.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    verbose = logging.getLogger("rayraft").getEffectiveLevel() <= logging.INFO
    with warnings.catch_warnings():
        # Ray's processes are forked and become other programs at once: none uses our Lance.
        warnings.filterwarnings("ignore", message="lance is not fork-safe")
        try:
            ray.init(
                address=address,
                namespace=namespace,
                include_dashboard=False if address == "local" else None,
                logging_level=logging.WARNING,
                log_to_driver=verbose,
            )
        except Exception as exc:  # Ray raises bare ones, among others when its start takes too long
            what = "start on this machine" if address == "local" else f"join {address}"
            reason = (str(exc).splitlines() or [type(exc).__name__])[0]
            raise ClusterError(f"Ray could not {what}: {reason}") from exc
    return address == "local"


def cluster_actors(cpus_per_actor: float, at_most: int = 16) -> int:
    """As many actors as the cluster has CPUs for; each holds models and index in memory."""
    cpus: float = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
    return max(1, min(at_most, int(cpus // cpus_per_actor)))
