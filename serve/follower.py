"""Keeps something up to date with the knowledge base, in a thread of its own.

Knows nothing of what is refreshed: `refresh` moves it to the latest version and returns that.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from rayraft.errors import RayraftError, VersionTimeout

logger = logging.getLogger(__name__)

_LOOK_S = 0.01
"""How often a waiting request looks at the version: far below what a refresh takes."""


class Follower:
    """Calls `refresh` every `poll_s`, and at once when somebody waits for a version."""

    def __init__(self, refresh: Callable[[], int], poll_s: float) -> None:
        self._refresh = refresh
        self._poll_s = poll_s
        self._wanted = threading.Event()
        self._stopped = False
        self._told = ""
        self.version = refresh()
        self._thread = threading.Thread(target=self._follow, name="kb-follower", daemon=True)
        self._thread.start()

    async def wait_for(self, version: int | None, timeout_s: float) -> int:
        """The version followed to, once it is at least `version`.

        Raises:
            VersionTimeout: It was not within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while version is not None and self.version < version:
            if time.monotonic() > deadline:
                raise VersionTimeout(
                    f"min_kb_version={version}: the knowledge base is at {self.version} "
                    f"after waiting {timeout_s:g} s"
                )
            self._wanted.set()
            await asyncio.sleep(_LOOK_S)
        return self.version

    def is_alive(self) -> bool:
        """Whether the thread still follows."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped = True
        self._wanted.set()
        self._thread.join(timeout=10)

    def _follow(self) -> None:
        while not self._stopped:
            self._wanted.wait(self._poll_s)
            self._wanted.clear()
            try:
                self.version = self._refresh()
            except (OSError, ValueError, RayraftError) as exc:
                # What storage raises. An outage must not end the thread: searches go on in the last
                # version. Anything else is a defect and ends it, which `is_alive` tells.
                self._tell(exc)
                time.sleep(self._poll_s)
            else:
                self._told = ""
                time.sleep(_LOOK_S)  # a far future version must not make this loop spin

    def _tell(self, error: Exception) -> None:
        if str(error) != self._told:  # once, not at every poll of an outage
            self._told = str(error)
            logger.error("the knowledge base cannot be followed; trying again", exc_info=error)
