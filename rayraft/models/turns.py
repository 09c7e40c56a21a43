"""A lock whose holders take turns: who waits longest is next, and a holder can let others go first.

Threads that generate with one model hold it for a step each, so that a short answer need not wait
for the end of a long one. Those that leave the model as the others need it share a turn.
"""

import threading
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

_ALONE = object()


class Turns:
    """First come, first served. Not re-entrant."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._holders = 0
        self._kind: Hashable = _ALONE

    def __enter__(self) -> None:
        self._take(_ALONE)

    def __exit__(self, *_: object) -> None:
        self._give()

    @contextmanager
    def shared(self, kind: Hashable) -> Iterator[None]:
        """A turn for all who ask for this kind one after the other; any other waits for its end."""
        self._take(kind)
        try:
            yield
        finally:
            self._give()

    def pass_on(self) -> bool:
        """The holder lets everybody who waits go first; False if nobody does."""
        with self._changed:
            if not self._waiting:
                return False
        self._give()
        self._take(_ALONE)
        return True

    def _take(self, kind: Hashable) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is ticket and self._is_free(kind))
                self._holders += 1
                self._kind = kind
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()  # the next may share this turn

    def _is_free(self, kind: Hashable) -> bool:
        return not self._holders or (kind is not _ALONE and kind == self._kind)

    def _give(self) -> None:
        with self._changed:
            self._holders -= 1
            self._changed.notify_all()
