"""A lock whose holders take turns: who waits longest is next, and a holder can let others go first.

Threads that generate with one model hold it for a step each, so that a short answer need not wait
for the end of a long one.
"""

import threading


class Turns:
    """First come, first served. Not re-entrant."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        self._now = 0

    def __enter__(self) -> None:
        with self._changed:
            mine, self._next = self._next, self._next + 1
            self._changed.wait_for(lambda: self._now == mine)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._now += 1
            self._changed.notify_all()

    def pass_on(self) -> bool:
        """The holder lets everybody who waits go first; False if nobody does."""
        with self._changed:
            if self._next == self._now + 1:
                return False
        self.__exit__()
        self.__enter__()
        return True
