"""How a training fails: what restarting cannot help is neither retried nor shown as a traceback."""

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray.train
import ray.train.torch
from ray.exceptions import RayActorError

from data_pipelines.own_errors import own_error

logger = logging.getLogger(__name__)


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


def fit_again(
    trainer: Callable[[], ray.train.torch.TorchTrainer], max_failures: int
) -> ray.train.Result:
    """The result of a run whose controller may die.

    Ray Train restarts workers, but nobody restarts the actor that restarts them (Ray 2.60): a new
    one for the same run goes on from its last checkpoint. The workers of a dead controller go with
    it, since it owns them.

    Args:
        trainer: Makes the trainer of a run, the same each time.
        max_failures: So many times at most a dead controller is followed by another; -1: always.

    Raises:
        RayActorError: The controller died once more.
    """
    for failures in itertools.count():
        try:
            return trainer().fit()
        except RayActorError:
            if 0 <= max_failures <= failures:
                raise
            logger.warning("the controller of the run died: another one goes on")
    raise AssertionError("unreachable")
