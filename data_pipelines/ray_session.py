"""A Ray for the length of one command: the cluster that is there, else one on this machine."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.data

from data_pipelines.own_errors import own_error
from rayraft.errors import ClusterError

_TOO_SLOW = "node timed out during startup"
"""What Ray says when its start took more than 30 s, which no setting changes (Ray 2.60): a machine
whose cores are busy can be too slow once, and quick enough when it is tried again."""


@contextmanager
def ray_session(dashboard: bool = False) -> Iterator[None]:
    """Ray for a command, as `start_ray` gives it; one that runs already is left running.

    A `RayraftError` that a task or an actor raised leaves the block as it is.

    Args:
        dashboard: As for `start_ray`.

    Raises:
        ClusterError: Ray could not be started or reached.
    """
    _quiet_ray_data()
    if ray.is_initialized():
        with _own_errors():
            yield
        return
    start_ray(dashboard=dashboard)
    try:
        with _own_errors():
            yield
    finally:
        ray.shutdown()


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        found = own_error(exc)
        if found is None or found is exc:
            raise
        raise found from exc


def _quiet_ray_data() -> None:
    """Ray Data's bars, plans and advice are off: the commands show a bar of their own.

    Its error lines repeat, as tracebacks, what it raises.
    """
    level = logging.WARNING if _is_verbose() else logging.CRITICAL
    logging.getLogger("ray.data").setLevel(level)
    warnings.filterwarnings("ignore", message="The (minimum|maximum) number of concurrent")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # What a batch function raised, and not an exception of Ray's with a traceback as its text.
    context.raise_original_map_exception = True


def _is_verbose() -> bool:
    return logging.getLogger("rayraft").getEffectiveLevel() <= logging.INFO


def start_ray(namespace: str | None = None, dashboard: bool = False) -> bool:
    """Joins the cluster named by RAY_ADDRESS (set in Ray jobs) or starts Ray on this machine.

    What workers print is shown with RAYRAFT_LOG_LEVEL=INFO or DEBUG; their errors reach the command
    as exceptions in any case.

    Args:
        namespace: Of named actors.
        dashboard: Whether a Ray that is started here has one, on loopback, and with it Ray's state
            API, by which Ray Train frees the workers' places of a training that was stopped.

    Returns:
        Whether Ray was started here; False where a cluster was joined, which others may use, too.

    Raises:
        ClusterError: Ray could not be started or reached.
    """
    address = os.environ.get("RAY_ADDRESS", "local")
    # A local Ray has token authentication by default, and warns of it.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Ray's processes are forked and become other programs at once: none uses our Lance.
        warnings.filterwarnings("ignore", message="lance is not fork-safe")
        try:
            _init(
                address=address,
                namespace=namespace,
                include_dashboard=dashboard if address == "local" else None,
                logging_level=logging.WARNING,
                log_to_driver=_is_verbose(),
            )
        except Exception as exc:  # Ray raises bare ones, among others when its start takes too long
            what = "start on this machine" if address == "local" else f"join {address}"
            reason = (str(exc).splitlines() or [type(exc).__name__])[0]
            raise ClusterError(f"Ray could not {what}: {reason}") from exc
    return address == "local"


def _init(**settings: Any) -> None:
    try:
        ray.init(**settings)
    except Exception as exc:
        if _TOO_SLOW not in str(exc):
            raise
        # What was begun has warmed the disk's cache, and ends with this process.
        ray.init(**settings)
