"""Which adapters are in a model's memory; those in use stay."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class LoadedAdapters:
    """Loads adapters when they are needed and forgets those that were not used for longest.

    Args:
        load: Brings an adapter into the model; raises NotFoundError.
        unload: Takes it out again.
        max_loaded: Adapters kept; more stay only while so many are in use.
    """

    def __init__(
        self, load: Callable[[str], None], unload: Callable[[str], None], max_loaded: int
    ) -> None:
        self._load = load
        self._unload = unload
        self._max_loaded = max_loaded
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self._users: Counter[str] = Counter()

    @contextmanager
    def using(self, adapters: Sequence[str | None]) -> Iterator[None]:
        """These adapters (None: the base model) are in the model inside the context."""
        names = sorted({adapter for adapter in adapters if adapter is not None})
        if not names:  # the base model waits for nobody's download
            yield
            return
        with self._lock:
            self._users.update(names)
        try:
            with self._lock:
                for name in names:
                    self._ensure(name)
                self._forget()
            yield
        finally:
            with self._lock:
                self._users.subtract(names)
                self._forget()

    def _ensure(self, name: str) -> None:
        if name not in self._loaded:
            self._load(name)
            self._loaded[name] = None
        self._loaded.move_to_end(name)

    def _forget(self) -> None:
        surplus = len(self._loaded) - self._max_loaded
        idle = [name for name in self._loaded if not self._users[name]]
        for name in idle[: max(0, surplus)]:
            del self._loaded[name]
            self._unload(name)
