"""Which requests the canary answers, followed as canaries start and stop."""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable

from data_pipelines.canaries import Canary
from rayraft.errors import NotFoundError
from rayraft.protocols import AdapterRef, AskRequest


class CanaryShare:
    """The running canary, read again when it is older than `poll_s`.

    Args:
        read: The canary of the store, or None.
        poll_s: Age at which it is read again.
    """

    def __init__(self, read: Callable[[], Canary | None], poll_s: float) -> None:
        self._read = read
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._canary: Canary | None = None
        self._read_at = float("-inf")

    def choose(
        self, request: AskRequest, choose: Callable[[AskRequest], AdapterRef | None]
    ) -> AdapterRef | None:
        """The adapter of a request by `choose`, of the canary's share the canary.

        Raises:
            NotFoundError: As `choose` does; a canary that is gone or does not fit is passed over.
        """
        if request.adapter is None and request.mode != "blend":
            canary = self.adapter_for(request.question)
            if canary is not None:
                with contextlib.suppress(NotFoundError):
                    return choose(request.model_copy(update={"adapter": canary}))
        return choose(request)

    def adapter_for(self, question: str) -> str | None:
        """The canary's id if it answers this question; a question always goes the same way."""
        with self._lock:
            if time.monotonic() - self._read_at >= self._poll_s:
                self._canary = self._read()
                self._read_at = time.monotonic()
            canary = self._canary
        if canary is None or draw(canary.adapter_id, question) >= canary.share:
            return None
        return canary.adapter_id


def draw(adapter_id: str, question: str) -> float:
    """Even in [0, 1); another canary draws other questions."""
    drawn = hashlib.sha256(f"{adapter_id}\0{question}".encode()).digest()
    return int.from_bytes(drawn[:8]) / 2**64
