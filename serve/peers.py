"""What the ingress's replicas know of each other: one blackboard, a page per replica.

Ray's key-value store holds the pages in a service, a dict in a test. A page stays when its replica
is gone, so that sums over all pages never fall.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)

_ALIVE_S = 10.0
"""A page that is older has no living author."""


class Board(Protocol):
    """Where pages are kept."""

    def write(self, name: str, page: bytes) -> None:
        """Replaces the page."""

    def read(self) -> dict[str, bytes]:
        """All pages."""
        ...


class DictBoard:
    """Pages in this process."""

    def __init__(self) -> None:
        self._pages: dict[str, bytes] = {}

    def write(self, name: str, page: bytes) -> None:
        """Replaces the page."""
        self._pages[name] = page

    def read(self) -> dict[str, bytes]:
        """All pages."""
        return dict(self._pages)


class RayBoard:
    """Pages in the cluster's key-value store."""

    _NAMESPACE = b"rayraft-ingress"

    def write(self, name: str, page: bytes) -> None:
        """Replaces the page."""
        from ray.experimental.internal_kv import _internal_kv_put

        _internal_kv_put(name.encode(), page, overwrite=True, namespace=self._NAMESPACE)

    def read(self) -> dict[str, bytes]:
        """All pages."""
        from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_list

        names = _internal_kv_list(b"", namespace=self._NAMESPACE)
        pages = {n.decode(): _internal_kv_get(n, namespace=self._NAMESPACE) for n in names}
        return {name: page for name, page in pages.items() if page is not None}


class Peers:
    """This replica's page, and the others'.

    Args:
        board: Where the pages are.
        name: Of this replica; no other ever has it.
        own: Makes the text of this replica's page.
        every_s: How often it is written; 0 for only when somebody reads.
    """

    def __init__(self, board: Board, name: str, own: Callable[[], str], every_s: float = 2) -> None:
        self._board = board
        self._name = name
        self._own = own
        self._every_s = every_s
        self._living = 1
        if every_s:
            threading.Thread(target=self._follow, name="peers", daemon=True).start()

    def share(self) -> float:
        """This replica's part of what all of them may do together."""
        return 1 / self._living

    def texts(self) -> list[str]:
        """All pages as of now, this replica's among them."""
        self._write()
        return [page.decode().partition("\n")[2] for page in self._board.read().values()]

    def look(self) -> None:
        """Writes the page and counts whose are fresh."""
        self._write()
        now = time.time()
        ages = [now - float(page.partition(b"\n")[0]) for page in self._board.read().values()]
        self._living = max(1, sum(age < _ALIVE_S for age in ages))

    def _write(self) -> None:
        self._board.write(self._name, f"{time.time()}\n{self._own()}".encode())

    def _follow(self) -> None:
        while True:
            try:
                self.look()
            except Exception as exc:  # Ray's store raises its own kinds; metrics must not end here
                logger.warning("the ingress's replicas cannot be counted: %s", exc)
            time.sleep(self._every_s)
