"""Starts the service on a local Ray (or on the cluster of RAY_ADDRESS) and stops it again."""

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import ray
import ray.serve
from ray.serve.context import _get_global_client

from data_pipelines.ray_session import start_ray
from rayraft.errors import InputError, RayraftError
from serve.app import APP_NAME, compose, listens_itself
from serve.deployments import Generator
from serve.run_file import RunFile


def serve_until_stopped(run: RunFile, when_ready: Callable[[], None]) -> None:
    """Runs the service until SIGINT or SIGTERM, then takes it down in order.

    Raises:
        ClusterError: Ray could not be started or reached.
        RayraftError: The service could not be started.
    """
    stopped = threading.Event()
    started_ray = not ray.is_initialized() and start_ray(namespace="serve")
    try:
        start(run, alone=started_ray and listens_itself(run.app.api))
        _stop_on_signals(stopped)
        when_ready()
        while not stopped.wait(timeout=1):
            pass
    finally:
        stop(started_ray)


def start(run: RunFile, alone: bool = False) -> None:
    """Starts Serve and the application on the running Ray; returns once it is healthy.

    Args:
        run: What to serve, and where.
        alone: Whether the API listens itself, and Serve has no proxy.

    Raises:
        InputError: Serve runs there already, and listens somewhere else.
        RayraftError: A deployment could not be started.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    ray.serve.start(
        proxy_location="Disabled" if alone else "HeadOnly",
        http_options=run.address._asdict(),
        logging_config=quiet,
    )
    if not alone:
        _check_listens_at(*run.address)
    try:
        app = compose(run.app, Generator, run.address if alone else None)
        ray.serve.run(app, name=APP_NAME, route_prefix="/", logging_config=quiet)
    except RuntimeError as exc:
        raise RayraftError(f"the service did not start: {_failure(exc)}") from exc


def _check_listens_at(host: str, port: int) -> None:
    # `ray.serve.start` only warns, and the service would be announced where nobody listens.
    client: Any = _get_global_client()
    found = client.http_config
    if (found.host, found.port) != (host, port):
        raise InputError(
            f"port {port} on {host}: Serve runs on this cluster already and listens on "
            f"{found.host}:{found.port}; give --port {found.port} --host {found.host}"
        )


def stop(started_ray: bool) -> None:
    """Takes down what this process put up: Serve and Ray only if it started Ray itself.

    On a cluster that was joined, Serve may run the applications of others.
    """
    if not ray.is_initialized():
        return
    if started_ray:
        ray.serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
    elif APP_NAME in ray.serve.status().applications:
        ray.serve.delete(APP_NAME)


def _failure(error: RuntimeError) -> str:
    """Why a deployment failed: the last line of its traceback, which Serve keeps in its status."""
    for name, deployment in _deployments():
        lines = [line for line in deployment.message.splitlines() if line.strip()]
        if lines and deployment.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            return f"{name}: {lines[-1].strip()}"
    return str(error)


def _deployments() -> list[tuple[str, "ray.serve.schema.DeploymentStatusOverview"]]:
    status = ray.serve.status().applications.get(APP_NAME)
    return list(status.deployments.items()) if status else []


def _stop_on_signals(stopped: threading.Event) -> None:
    def stop_soon(_: int, __: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGINT, stop_soon)
    signal.signal(signal.SIGTERM, stop_soon)
