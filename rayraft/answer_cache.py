"""Answers given before, kept by all that decided them: equal questions, or nearly equal ones.

A kept answer is found again only by a request of the same `cache_scope`: the same groups (and with
them the tenant), knowledge base version, adapter, router, mode and options. So nothing has to be
invalidated: a new version or adapter is another scope. Within a scope it is found by the same
words, or by an embedding that is near enough. Knows nothing of Ray or HTTP; for one thread.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from rayraft.config import Config
from rayraft.protocols import AskRequest
from rayraft.records import Answer, CacheUse, Usage, digest

Vector = npt.NDArray[np.float32]
_NOT_DECIDING = frozenset({"question", "groups", "min_kb_version", "deadline_at", "use_cache"})
"""Of a request: the words are looked up within a scope, the groups are sorted first, and the others
say only when and whether to answer."""
_ENTRY_BYTES = 512
"""What an entry takes beside its texts and its vector, roughly."""


class CacheConfig(Config):
    """Answers that are given again, in each replica's memory."""

    enabled: bool = False
    """Whether a question in the same words is answered again from memory."""
    min_cosine: float | None = Field(default=None, gt=0, le=1)
    """Whether one in other words is, too: the least cosine of the questions' embeddings, null for
    no. 0.93 is careful with the shipped embedder (docs/serving.md)."""
    max_entries: int = Field(default=1000, ge=1)
    """More, and the answer not asked for longest goes."""
    max_bytes: int = Field(default=64 * 2**20, ge=4096)
    """Of texts and vectors, likewise."""
    ttl_s: float = Field(default=3600, gt=0)
    """Older answers are made anew."""


@dataclass(frozen=True)
class _Entry:
    question: str
    answer: Answer
    vector: Vector | None
    kept_at: float
    size: int


class AnswerCache:
    """The kept answers of one process.

    Args:
        config: Bounds.
        clock: Seconds that never go back.
    """

    def __init__(self, config: CacheConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._scopes: dict[str, set[str]] = {}
        self._version = -1
        self.size = 0
        """Bytes kept."""

    def __len__(self) -> int:
        return len(self._entries)

    def follow(self, kb_version: int) -> None:
        """Forgets what older versions answered: a deleted document is not kept in memory either."""
        if kb_version > self._version:
            self._version = kb_version
            self._entries.clear()
            self._scopes.clear()
            self.size = 0

    def equal(self, scope: str, question: str) -> Answer | None:
        """The answer to the question in the same words, marked as a hit."""
        entry = self._fresh((scope, question))
        if entry is None:
            return None
        self._entries.move_to_end((scope, question))
        return _again(entry, "exact", 1.0, self._clock())

    def near(self, scope: str, question: str, vector: Vector) -> Answer | None:
        """The answer to the nearest question that is near enough, marked as a hit.

        An abstention is not taken: other words might find what these did not.

        Args:
            scope: Of the request.
            question: Its words.
            vector: float32 [dim], L2-normalised.
        """
        if self._config.min_cosine is None:
            return None
        entries = [self._fresh((scope, other)) for other in list(self._scopes.get(scope, ()))]
        usable = [
            entry
            for entry in entries
            if entry
            and entry.vector is not None
            and not entry.answer.abstained
            and not tells_apart(entry.question, question)
        ]
        if not usable:
            return None
        cosines = np.stack([entry.vector for entry in usable if entry.vector is not None]) @ vector
        best = int(cosines.argmax())
        if cosines[best] < self._config.min_cosine:
            return None
        entry = usable[best]
        self._entries.move_to_end((scope, entry.question))
        return _again(entry, "semantic", round(float(cosines[best]), 4), self._clock())

    def keep(
        self, scope: str, kb_version: int, question: str, answer: Answer, vector: Vector | None
    ) -> None:
        """Keeps an answer that was made in this version; one of an older version is let go."""
        self.follow(kb_version)
        if kb_version < self._version:
            return
        size = len(answer.model_dump_json()) + len(question) + len(scope) + _ENTRY_BYTES
        size += vector.nbytes if vector is not None else 0
        if size > self._config.max_bytes:
            return
        self._drop((scope, question))
        self._entries[scope, question] = _Entry(question, answer, vector, self._clock(), size)
        self._scopes.setdefault(scope, set()).add(question)
        self.size += size
        while len(self) > self._config.max_entries or self.size > self._config.max_bytes:
            self._drop(next(iter(self._entries)))

    def _fresh(self, place: tuple[str, str]) -> _Entry | None:
        entry = self._entries.get(place)
        if entry is None:
            return None
        if self._clock() - entry.kept_at > self._config.ttl_s:
            self._drop(place)
            return None
        return entry

    def _drop(self, place: tuple[str, str]) -> None:
        entry = self._entries.pop(place, None)
        if entry is not None:
            self.size -= entry.size
            scope, question = place
            self._scopes[scope].discard(question)
            if not self._scopes[scope]:
                del self._scopes[scope]


def cache_scope(
    request: AskRequest, adapter: str | None, router: str | None, kb_version: int
) -> str:
    """Digest of all that decides an answer but the question's words.

    Every field of the request counts unless it is named as not deciding, so that a new one does.

    Args:
        request: What is asked.
        adapter: Chosen for it: named, default, champion or canary.
        router: Digest of the learned router that decides mode auto, if one does.
        kb_version: That searches see.
    """
    options = request.model_dump(mode="json", exclude=set(_NOT_DECIDING))
    return digest([options, sorted(set(request.groups)), adapter, router, kb_version])


def tells_apart(one: str, other: str) -> bool:
    """Whether two questions differ in a number or a name, which embeddings hardly see."""
    differing = set(_words(one)) ^ set(_words(other))
    return any(word[0].isupper() or any(map(str.isdigit, word)) for word in differing)


def _words(question: str) -> list[str]:
    """The words; the first is lower case, as it is no name for being the first."""
    words: list[str] = re.findall(r"\w+", question)
    return [words[0].lower(), *words[1:]] if words else []


def _again(entry: _Entry, outcome: str, similarity: float, now: float) -> Answer:
    use = CacheUse(
        outcome=outcome,  # type: ignore[arg-type]  # exact or semantic
        similarity=similarity,
        age_s=round(now - entry.kept_at, 3),
    )
    return entry.answer.model_copy(update={"cache": use, "usage": Usage(), "timings_ms": {}})
