"""Which adapters are published, which one is the default, and how one gets into a model."""

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from data_pipelines.artifacts import ArtifactRef, fetch
from data_pipelines.champions import Role, roles_of
from data_pipelines.published_adapters import PublishedAdapter, default_adapter
from rayraft.adapter_ids import parse_adapter_id
from rayraft.errors import NotFoundError
from rayraft.protocols import AdapterRef, AskRequest
from rayraft.tenants import may_use_adapter

logger = logging.getLogger(__name__)

CHAMPION = "champion"


class AdapterCatalog:
    """The published adapters, read again when the list is older than `poll_s`.

    Args:
        read: All published adapters that fit the base model, oldest first.
        default: `name-vN`, `champion` (the promoted one, else the newest trained with passages),
            or None for no default.
        poll_s: Age at which the list is read again.
    """

    def __init__(
        self, read: Callable[[], Sequence[PublishedAdapter]], default: str | None, poll_s: float
    ) -> None:
        self._read = read
        self._default = default
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._adapters: list[PublishedAdapter] = []
        self._read_at = float("-inf")

    def published(self, groups: Sequence[str] = ()) -> list[PublishedAdapter]:
        """Published adapters that somebody in `groups` may use, oldest first."""
        return [one for one in self._all() if may_use_adapter(one.ref.name, groups)]

    def ids(self) -> list[str]:
        """Of all published adapters, whoever owns them."""
        return [one.reference.adapter_id for one in self._all()]

    def for_request(self, request: AskRequest) -> AdapterRef | None:
        """The adapter of a request's mode; for blend, whose adapter answers by heart, the memory.

        Raises:
            NotFoundError: One that it names is not published, does not fit the base model, or is
                another tenant's.
        """
        if request.reading_adapter is not None:
            find_adapter(self._references(request.groups), request.reading_adapter)
        role: Role = "memory" if request.mode == "blend" else "reading"
        return self.default(request.adapter, role, request.groups)

    def default(
        self, adapter_id: str | None = None, role: Role = "reading", groups: Sequence[str] = ()
    ) -> AdapterRef | None:
        """The adapter that a request asks for, else the configured one.

        `champion` is by role (memory, else the one for reading); another configured one is meant
        for all roles.

        Raises:
            NotFoundError: It is not published, does not fit the base model, or is another tenant's.
        """
        wanted = adapter_id or self._default
        if wanted is None:
            return None
        if wanted == CHAMPION:
            published = self._all()
            found = default_adapter(published, role, groups)
            found = found or default_adapter(published, "reading", groups)
            return found.reference if found else None
        return find_adapter(self._references(groups), wanted)

    def _references(self, groups: Sequence[str]) -> list[AdapterRef]:
        return [one.reference for one in self.published(groups)]

    def _all(self) -> list[PublishedAdapter]:
        with self._lock:
            if time.monotonic() - self._read_at >= self._poll_s:
                self._adapters = list(self._read())
                self._read_at = time.monotonic()
            return self._adapters


def find_adapter(adapters: Sequence[AdapterRef], adapter_id: str) -> AdapterRef:
    """The adapter `adapter_id` among the published ones.

    Raises:
        NotFoundError: It is not there; lists what is.
    """
    for adapter in adapters:
        if adapter.adapter_id == adapter_id:
            return adapter
    known = ", ".join(adapter.adapter_id for adapter in adapters) or "none"
    raise NotFoundError(f"adapter {adapter_id!r} does not exist; published: {known}")


def adapter_facts(adapter: PublishedAdapter) -> dict[str, Any]:
    """What GET /v1/adapters says of one."""
    return {
        "id": adapter.ref.artifact_id,
        "object": "adapter",
        "roles": roles_of(adapter.manifest),
        "champion_of": sorted(adapter.champion_of),
        "method": str(adapter.manifest.config.get("method", "")),
        "kb_version": adapter.manifest.kb_version,
        "created": adapter.manifest.created,
    }


class AdapterModel(Protocol):
    """A model that takes adapters."""

    def load_adapter(self, name: str, path: Any) -> None:
        """Verifies the adapter in the folder `path` and makes it usable under `name`."""


class AdapterLoader:
    """Brings published adapters from the store into a model."""

    def __init__(self, store: str) -> None:
        self._store = store

    def __call__(self, model: AdapterModel, adapter_id: str) -> None:
        """Loads the adapter under its id.

        Raises:
            NotFoundError: It is not published.
            ArtifactMismatch: It does not fit the model, or was changed after publishing.
        """
        name, number = parse_adapter_id(adapter_id)
        ref = ArtifactRef(self._store, "adapter", name, number)
        with tempfile.TemporaryDirectory(prefix="rayraft-adapter-") as folder:
            fetch(ref, Path(folder))
            model.load_adapter(adapter_id, Path(folder))
        logger.info("loaded adapter %s", adapter_id)
