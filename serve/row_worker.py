"""The thread that writes rows step by step: they join it while others run.

Knows nothing of what a row is; `rayraft.models.row_batch.RowBatch` does.
"""

import logging
import threading
from collections import deque
from concurrent.futures import Future
from typing import Any, Protocol

from rayraft.errors import GenerationError
from rayraft.writing import Row

logger = logging.getLogger(__name__)


class Rows(Protocol):
    """The part of `RowBatch` that is used here."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        ...

    def prepare(self, row: Row) -> Any:
        """The row, ready to join; raises InputError. May be called by any thread."""

    def join(self, writing: Any) -> bool:
        """False while there is no room for it."""
        ...

    def step(self) -> list[tuple[Any, Any]]:
        """One token more for each row; those that ended, with output or exception."""
        ...


class RowWorker:
    """Writes rows in a thread of its own, first come first served.

    After an error that is not one row's alone nothing is known of the model's state: the thread
    ends, whoever waits gets a GenerationError, and `check` says so: the replica is replaced.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Any, Row]] = deque()
        self._results: dict[Any, Future[Any]] = {}
        self._stopped: str | None = None
        self._thread = threading.Thread(target=self._run, name="engine-rows", daemon=True)
        self._thread.start()

    def write(self, row: Row) -> Any:
        """The output; blocks until it is written.

        Raises:
            InputError: The row is too long.
            GenerationError: The thread has ended.
        """
        writing = self._rows.prepare(row)
        result: Future[Any] = Future()
        with self._changed:
            self._check()
            self._results[writing] = result
            self._waiting.append((writing, row))
            self._changed.notify()
        return result.result()

    def check(self) -> None:
        """Raises GenerationError once the thread has ended."""
        with self._changed:
            self._check()

    def close(self) -> None:
        """Ends the thread after its step; whoever still waits gets a GenerationError."""
        self._stop("it was closed")
        self._thread.join(5)

    def _check(self) -> None:
        if self._stopped is not None:
            raise GenerationError(f"the engine has stopped: {self._stopped}")

    def _run(self) -> None:
        reason = "its thread has ended"
        try:
            while self._admit():
                for writing, output in self._rows.step():
                    self._settle(writing, output)
        except Exception as exc:
            logger.exception("the engine's thread has failed")
            reason = f"{type(exc).__name__}: {exc}"
        finally:
            self._stop(reason)

    def _admit(self) -> bool:
        """Lets in who waits and fits; waits for somebody if there is nothing to do. False: end."""
        with self._changed:
            while self._stopped is None:
                while self._waiting and self._enters(*self._waiting[0]):
                    self._waiting.popleft()
                if not self._rows.empty:
                    return True
                self._changed.wait()
        return False

    def _enters(self, writing: Any, row: Row) -> bool:
        if not row.wanted():
            self._results.pop(writing).set_exception(GenerationError("nobody waits for it"))
            return True
        return self._rows.join(writing)

    def _settle(self, writing: Any, output: Any) -> None:
        with self._changed:
            result = self._results.pop(writing, None)
        if result is None:
            return  # the worker was closed meanwhile
        if isinstance(output, BaseException):
            result.set_exception(output)
        else:
            result.set_result(output)

    def _stop(self, reason: str) -> None:
        with self._changed:
            self._stopped = self._stopped or reason
            open_results = list(self._results.values())
            self._results.clear()
            self._waiting.clear()
            self._changed.notify_all()
        for result in open_results:
            result.set_exception(GenerationError(f"the engine has stopped: {self._stopped}"))
