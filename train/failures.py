"""How a training fails: what restarting cannot help is neither retried nor shown as a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray.train

from data_pipelines.own_errors import own_error


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
