"""Which learned router decides mode `auto`, followed as routers are published."""

import threading
import time
from collections.abc import Callable, Sequence

from data_pipelines.published_routers import fitting_routers, newest_router
from rayraft.errors import NotFoundError
from rayraft.learned_router import LearnedRouter
from rayraft.tenants import may_use_adapter
from serve.adapters import AdapterCatalog
from serve.config import AnsweringConfig

LATEST = "latest"


class RouterCatalog:
    """The published routers, read again when the list is older than `poll_s`.

    Args:
        read: All that fit base model, prompts and published adapters, oldest first.
        wanted: `latest`, the name of one, or None for the rule alone.
        poll_s: Age at which the list is read again.
    """

    def __init__(
        self, read: Callable[[], Sequence[LearnedRouter]], wanted: str | None, poll_s: float
    ) -> None:
        self._read = read
        self._wanted = wanted
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._routers: list[LearnedRouter] = []
        self._read_at = float("-inf")

    def router(self, adapter_id: str | None, groups: Sequence[str] = ()) -> LearnedRouter | None:
        """The one for requests with this adapter; None where the rule decides.

        One that may choose an adapter which nobody in `groups` may use is not there for them.

        Raises:
            NotFoundError: A router is named, and is not there or does not fit.
        """
        if self._wanted is None:
            return None
        routers = [
            router
            for router in self._published()
            if all(may_use_adapter(adapter, groups) for adapter in router.adapters)
        ]
        if self._wanted == LATEST:
            return newest_router(routers, adapter_id)
        named = [router for router in routers if router.name == self._wanted]
        if not named:
            known = ", ".join(router.name for router in routers) or "none"
            raise NotFoundError(
                f"router {self._wanted!r} does not exist or does not fit; fitting: {known}"
            )
        return newest_router(named, adapter_id)

    def _published(self) -> list[LearnedRouter]:
        with self._lock:
            if time.monotonic() - self._read_at >= self._poll_s:
                self._routers = list(self._read())
                self._read_at = time.monotonic()
            return self._routers


def following_routers(
    store: str, base_digest: str, adapters: AdapterCatalog, config: AnsweringConfig
) -> RouterCatalog:
    """The catalogue of a store's routers for a base model and the adapters of `adapters`."""

    def read() -> list[LearnedRouter]:
        return fitting_routers(store, base_digest, adapters.ids())

    return RouterCatalog(read, config.router, config.adapter_poll_s)
