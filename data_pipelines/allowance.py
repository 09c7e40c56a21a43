"""How fast and how much an endpoint may be asked: pure arithmetic over a clock.

Callers take before they ask and wait as long as they are told; afterwards they settle with what
was really used. Requests are spread evenly (the generic cell rate algorithm without bursts).
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from data_pipelines.teacher_config import LimitsConfig


class TokensSpent(Exception):
    """The budget does not suffice for another request."""


class Allowance(Protocol):
    """What a teacher asks before it asks its endpoint."""

    def take(self, tokens: int) -> float:
        """Seconds to wait before a request of about so many tokens.

        Raises:
            TokensSpent: The budget does not suffice.
        """
        ...

    def settle(self, taken: int, used: int) -> None:
        """A request that took `taken` has used `used`."""
        ...

    def pause(self, seconds: float) -> None:
        """Nobody asks for so long: the endpoint said so."""
        ...


class LocalAllowance:
    """The limits of one process; calls may come from many threads."""

    def __init__(self, limits: LimitsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._spent = 0
        self._next_request_at = self._next_tokens_at = self._paused_until = clock()

    def take(self, tokens: int) -> float:
        """Seconds to wait before a request of about so many tokens.

        Raises:
            TokensSpent: The budget does not suffice.
        """
        limits = self._limits
        with self._lock:
            if limits.token_budget is not None and self._spent + tokens > limits.token_budget:
                raise TokensSpent(f"{self._spent} of {limits.token_budget} tokens are spent")
            self._spent += tokens
            now = self._clock()
            at = max(now, self._next_request_at, self._next_tokens_at, self._paused_until)
            if limits.requests_per_minute is not None:
                self._next_request_at = at + 60 / limits.requests_per_minute
            if limits.tokens_per_minute is not None:
                self._next_tokens_at = at + tokens * 60 / limits.tokens_per_minute
            return at - now

    def settle(self, taken: int, used: int) -> None:
        """Corrects what was taken for a request to what it used; 0 if it did not come through."""
        with self._lock:
            self._spent += used - taken
            if self._limits.tokens_per_minute is not None:
                self._next_tokens_at += (used - taken) * 60 / self._limits.tokens_per_minute

    def pause(self, seconds: float) -> None:
        """Nobody asks for so long."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)
