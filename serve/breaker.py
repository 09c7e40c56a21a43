"""A circuit breaker: an endpoint that fails again and again is left alone for a while."""

import time
from collections.abc import Callable

from serve.errors import Unavailable


class CircuitBreaker:
    """Counts failures in a row. For one event loop.

    Args:
        failures: So many open it.
        rest_s: So long nothing is let through; then one call at a time, until one succeeds.
        clock: Seconds; for tests.
    """

    def __init__(
        self, failures: int, rest_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failures = 0
        self._closed_until = float("-inf")
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, or let through one at a time."""
        return self._failures >= self._limit

    def begin(self, endpoint: str) -> None:
        """Called before each call.

        Raises:
            Unavailable: The endpoint is left alone now.
        """
        if not self.is_open:
            return
        left = self._closed_until - self._clock()
        if left > 0 or self._trying:
            raise Unavailable(
                f"{endpoint} failed {self._failures} times in a row; "
                f"next try in {max(0.0, left):.0f} s"
            )
        self._trying = True

    def end(self, worked: bool | None) -> None:
        """Called after each call that was begun; None: nothing is known (the caller has left)."""
        self._trying = False
        if worked:
            self._failures = 0
        elif worked is False:
            self._failures += 1
            self._closed_until = self._clock() + self._rest_s
