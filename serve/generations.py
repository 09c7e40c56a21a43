"""Retrievers and embedders that outlive a re-embedding of the store.

An embedder and an index of its vectors are one pair, which is replaced as a whole: what is opened
after a re-embedding is opened beside the pair in use, and a search holds the pair it began with.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from rayraft.errors import ArtifactMismatch

if TYPE_CHECKING:
    from data_pipelines.kb import KnowledgeBase
    from rayraft.models.embedder import Embedder
    from rayraft.models.spec import EmbedderSpec

logger = logging.getLogger(__name__)


class Generation(Protocol):
    """Something that is of one embedder: a retriever, or the embedder itself."""

    @property
    def spec(self) -> "EmbedderSpec":
        """The embedder."""
        ...

    @property
    def version(self) -> int:
        """The knowledge base version that it is at."""
        ...

    def refresh(self) -> int:
        """Moves to the latest version and returns it.

        Raises:
            ArtifactMismatch: The latest version is another embedder's.
        """
        ...


T = TypeVar("T", bound=Generation)


class Generations(Generic[T]):
    """The newest generation and, for a while, the one before; `refresh` is for one thread."""

    def __init__(
        self,
        open_latest: Callable[[], T],
        prepare: Callable[[T], object] = lambda _: None,
        kept_s: float = 0,
    ) -> None:
        """Opens the first.

        Args:
            open_latest: The generation of the latest version.
            prepare: What is done with a later one before it is used.
            kept_s: How long one that was replaced is kept after it was last asked for.
        """
        self._open_latest = open_latest
        self._prepare = prepare
        self._kept_s = kept_s
        self._shown = [open_latest()]  # replaced, never changed in place: a reader needs no lock
        self._drop_at = float("inf")

    @property
    def newest(self) -> T:
        """Of the store's embedder, as far as it is opened."""
        return self._shown[0]

    @property
    def all(self) -> list[T]:
        """The newest first."""
        return self._shown

    def of(self, digest: str) -> T:
        """The generation of the embedder with this digest.

        Raises:
            ArtifactMismatch: It is not opened yet, or not kept any more.
        """
        for one in self._shown:
            if one.spec.digest == digest:
                if one is not self._shown[0]:
                    self._drop_at = time.monotonic() + self._kept_s
                return one
        raise ArtifactMismatch(f"no index of embedder {digest[:12]} is open here")

    def refresh(self) -> int:
        """Moves to the latest version, of whatever embedder, and returns it."""
        if time.monotonic() > self._drop_at:
            self._shown, self._drop_at = self._shown[:1], float("inf")
        try:
            return self.newest.refresh()
        except ArtifactMismatch as exc:
            logger.info("opening the index of another embedder: %s", exc)
        opened = self._open_latest()
        self._prepare(opened)
        self._shown = [opened, self.newest] if self._kept_s else [opened]
        self._drop_at = time.monotonic() + self._kept_s
        logger.info("searching by embedder %s, version %d", opened.spec.name, opened.version)
        return opened.version


class StoreEmbedder:
    """The store's embedder, loaded, as a generation."""

    def __init__(self, kb: "KnowledgeBase", threads: int) -> None:
        self._kb = kb.snapshot()
        self.model = load_embedder(kb, threads)

    @property
    def spec(self) -> "EmbedderSpec":
        """The embedder."""
        return self.model.spec

    @property
    def version(self) -> int:
        """The version whose embedder is known to be this one."""
        return self._kb.version

    def refresh(self) -> int:
        """As the protocol says."""
        from data_pipelines.kb_table import check_embedder

        latest = self._kb.snapshot()
        version = latest.checkout_latest()
        check_embedder(latest.embedder, self.spec, "knowledge base")
        self._kb = latest
        return version


def load_embedder(kb: "KnowledgeBase", threads: int) -> "Embedder":
    """The embedder that a knowledge base was made with, and no other of its name.

    Raises:
        ConfigError: There is none of this name on this machine.
        NotFoundError: It was published in the store, and is there no more.
        ArtifactMismatch: It is another one here.
    """
    from data_pipelines.embedders import open_embedder
    from data_pipelines.kb_table import check_embedder

    embedder = open_embedder(kb, threads)
    check_embedder(kb.embedder, embedder.spec, "knowledge base")
    return embedder
