"""Keeps the index of a replica in shape, in a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


def start_upkeep(maintain: Callable[[], bool], period_s: float, threads: int) -> None:
    """Calls `maintain` every `period_s` until the process ends; it builds with so many threads."""

    def keep_up() -> None:
        while True:
            build_if_due(maintain, threads)
            time.sleep(period_s)

    threading.Thread(target=keep_up, name="index-upkeep", daemon=True).start()


def build_if_due(maintain: Callable[[], bool], threads: int) -> None:
    """Calls `maintain` once, with so many threads of this thread's own; a failure is told only."""
    import faiss

    faiss.omp_set_num_threads(threads)  # of this thread alone: searches keep theirs
    try:
        if maintain():
            logger.info("the index was built anew")
    except Exception:
        # The index in use stays as it is; searches are right without a new one.
        logger.exception("the index could not be built; trying again")
