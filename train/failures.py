"""How a training fails: what restarting cannot help is neither retried nor shown as a traceback."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import ray.train
from ray.exceptions import RayActorError

from data_pipelines.own_errors import own_error

logger = logging.getLogger(__name__)

R = TypeVar("R")


class NoRetryOfOwnErrors(ray.train.UserCallback):
    """Ends the run when a worker says what is wrong with it.

    Ray Train restarts workers after any exception; one in this callback ends the controller.
    """

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raises the first worker's `RayraftError`, if there is one."""
        for world_rank in sorted(worker_exceptions):
            found = own_error(worker_exceptions[world_rank])
            if found is not None:
                raise found


@contextmanager
def own_errors() -> Iterator[None]:
    """A failed run raises the `RayraftError` of its workers as it is; defects stay Ray Train's."""
    try:
        yield
    except ray.train.TrainingFailedError as exc:
        found = own_error(exc)
        if found is None:
            raise
        raise found from exc


def again_without_controller(fit: Callable[[], R], max_failures: int) -> R:
    """What `fit` returns; it is called again where Ray Train's controller was lost.

    The controller starts lost workers again; it is itself an actor that nobody starts again. A new
    one goes on from the run's last checkpoint, as after any interruption.

    Args:
        fit: Starts the controller and waits for it.
        max_failures: So often; -1: without end.

    Raises:
        RayActorError: It was lost once more.
    """
    lost = 0
    while True:
        try:
            return fit()
        except RayActorError as exc:
            if lost == max_failures:
                raise
            lost += 1
            logger.warning("the training's controller is lost, starting another: %s", exc)
