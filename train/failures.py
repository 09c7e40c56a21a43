"""How a training fails: what restarting cannot help is neither retried nor shown as a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray.exceptions
import ray.train

from data_pipelines.own_errors import own_error
from rayraft.errors import ClusterError


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
    """A failed run raises the `RayraftError` of its workers as it is; defects stay Ray Train's.

    Raises:
        ClusterError: Ray Train's controller died.
    """
    try:
        yield
    except ray.exceptions.RayActorError as exc:
        # Ray Train restarts workers; its controller, with which they end, nobody restarts.
        raise ClusterError(
            "training: the process that watches over the workers died; given again, the same "
            "command goes on from the last checkpoint"
        ) from exc
    except ray.train.TrainingFailedError as exc:
        found = own_error(exc)
        if found is None:
            raise
        raise found from exc
