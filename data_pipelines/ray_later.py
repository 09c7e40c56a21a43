"""Ray for a command that may not need it: its start takes longer than a small change."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def ray_when_needed() -> Iterator[Callable[[], None]]:
    """A function that starts Ray once, as `ray_session` does; what it starts ends with the block.

    Raises:
        ClusterError: Out of the function: Ray could not be started or reached.
    """
    with ExitStack() as stack:
        started = False

        def start() -> None:
            nonlocal started
            if not started:
                from data_pipelines.ray_session import ray_session  # importing Ray takes a second

                stack.enter_context(ray_session())
                started = True

        yield start
