"""Which adapters are published, which one is the default, and how one gets into a model."""

import functools
import logging
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from data_pipelines.artifacts import ArtifactRef, fetch, find, listing, read_manifest
from rayraft.errors import ArtifactMismatch, NotFoundError
from rayraft.manifests import Manifest
from rayraft.prompts import prompt_digest
from rayraft.protocols import AdapterRef

logger = logging.getLogger(__name__)

LATEST = "latest"
_ADAPTER_ID = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]{0,63})-v(?P<number>[1-9]\d{0,8})")


def parse_adapter_id(adapter_id: str) -> tuple[str, int]:
    """Name and number of `name-vN`.

    Raises:
        NotFoundError: Not of this form, so there can be no such adapter.
    """
    match = _ADAPTER_ID.fullmatch(adapter_id)
    if match is None:
        raise NotFoundError(f"adapter {adapter_id[:100]!r} does not exist: expected NAME-vN")
    return match["name"], int(match["number"])


class AdapterCatalog:
    """The published adapters, read again when the list is older than `poll_s`.

    Args:
        read: All published adapters that fit the base model, oldest first.
        default: `name-vN`, `latest`, or None for no default.
        poll_s: Age at which the list is read again.
    """

    def __init__(
        self, read: Callable[[], Sequence[AdapterRef]], default: str | None, poll_s: float
    ) -> None:
        self._read = read
        self._default = default
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._adapters: list[AdapterRef] = []
        self._read_at = float("-inf")

    def adapters(self) -> list[AdapterRef]:
        """Published adapters, oldest first."""
        with self._lock:
            if time.monotonic() - self._read_at >= self._poll_s:
                self._adapters = list(self._read())
                self._read_at = time.monotonic()
            return self._adapters

    def default(self, adapter_id: str | None = None) -> AdapterRef | None:
        """The adapter that a request asks for, else the configured one.

        Raises:
            NotFoundError: It is not published, or does not fit the base model.
        """
        wanted = adapter_id or self._default
        if wanted is None:
            return None
        adapters = self.adapters()
        if wanted == LATEST:
            return adapters[-1] if adapters else None
        return find_adapter(adapters, wanted)


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


def published_adapters(store: str, base_digest: str) -> list[AdapterRef]:
    """The store's adapters that fit the base model and today's prompts, oldest first."""
    fitting: list[tuple[str, int, ArtifactRef, Manifest]] = []
    for ref in listing(store, "adapter"):
        try:
            manifest = _manifest(ref)
        except (ArtifactMismatch, NotFoundError) as exc:
            logger.warning("adapter %s is left out: %s", ref.artifact_id, exc)
            continue
        if (manifest.base_digest, manifest.prompt_digest) == (base_digest, prompt_digest()):
            fitting.append((manifest.created, ref.version or 0, ref, manifest))
    fitting.sort(key=lambda item: (item[0], item[1], item[2].name))
    return [AdapterRef(ref.artifact_id, manifest.kb_version) for _, _, ref, manifest in fitting]


@functools.lru_cache(maxsize=1024)
def _manifest(ref: ArtifactRef) -> Manifest:
    return read_manifest(ref)  # published artifacts never change


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
        parse_adapter_id(adapter_id)
        ref = find(self._store, "adapter", adapter_id)
        with tempfile.TemporaryDirectory(prefix="rayraft-adapter-") as folder:
            fetch(ref, Path(folder))
            model.load_adapter(adapter_id, Path(folder))
        logger.info("loaded adapter %s", adapter_id)
