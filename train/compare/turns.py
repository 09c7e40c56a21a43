"""Workers for clients, first come first served. Pure."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

W = TypeVar("W")


class Turns(Generic[W]):
    """Workers for clients, who are served in the order in which they came.

    `queue.Queue` and semaphores promise no order: a client that gives a worker back and asks at
    once gets it again, while another waits for all the time.
    """

    def __init__(self, workers: Sequence[W]) -> None:
        self._lock = threading.Lock()
        self._free = deque(workers)
        self._waiting: deque[Future[W]] = deque()

    def take(self) -> W:
        """A worker, once it is this client's turn."""
        with self._lock:
            if self._free:
                return self._free.popleft()
            ticket: Future[W] = Future()
            self._waiting.append(ticket)
        return ticket.result()

    def give(self, worker: W) -> None:
        """Hands a worker to whoever waits for the longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set_result(worker)
            else:
                self._free.append(worker)
