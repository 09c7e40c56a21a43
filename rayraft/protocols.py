"""What goes into the answering logic and the two seams through which it reaches the rest.

`Retrieve` and `Generate` are what a service implements over handles, an evaluation in process and
a test with a few lines.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import Field

from rayraft.prompts import Message
from rayraft.records import Passage, Record


class AskRequest(Record):
    """One question and how to answer it."""

    question: str = Field(min_length=1, max_length=20_000)
    mode: str = "auto"
    """One of `records.MODES`; another one is a `NotFoundError` when answered."""
    adapter: str | None = None
    """`name-vN`; None takes the default adapter where the mode uses one."""
    k: int = Field(default=4, ge=1, le=100)
    """Passages to retrieve; fewer are shown if the prompt would not fit."""
    where: dict[str, Any] | None = None
    """Metadata filter, as in `HybridRetriever.search`."""
    groups: tuple[str, ...] = ()
    """Groups of the person who asks."""
    min_kb_version: int | None = Field(default=None, ge=0)
    """Knowledge base version that the passages must have at least."""
    max_new_tokens: int = Field(default=96, ge=1, le=4096)


@dataclass(frozen=True)
class Retrieved:
    """Passages, best first, and the version they were found in."""

    passages: list[Passage]
    kb_version: int
    partial: bool = False
    """A part of the documents was not searched, because its shard did not answer in time."""


@dataclass(frozen=True)
class GeneratedPiece:
    """Some text of an output; the token counts are totals, set on the last piece at least."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class AdapterRef:
    """The adapter that `raft` and `auto` use when the request names none."""

    adapter_id: str
    """`name-vN`."""
    kb_version: int | None = None
    """Version that it was trained from."""


class Retrieve(Protocol):
    """Finds passages; waits for `min_kb_version` if it is given."""

    def __call__(
        self,
        question: str,
        k: int,
        where: dict[str, Any] | None,
        groups: Sequence[str],
        min_kb_version: int | None,
    ) -> Awaitable[Retrieved]:
        """Passages that the groups may read, best first."""


class Generate(Protocol):
    """Writes the output for one prompt, in one piece or in many."""

    def __call__(
        self, messages: list[Message], adapter: str | None, max_new_tokens: int
    ) -> AsyncIterator[GeneratedPiece]:
        """The output in order."""
