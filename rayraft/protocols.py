"""What goes into the answering logic and the two seams through which it reaches the rest.

`Retrieve` and `Generate` are what a service implements over handles, an evaluation in process and
a test with a few lines.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from rayraft.prompts import Message
from rayraft.records import Passage, Record

Mu = Literal["quality", "balanced", "cheap"] | Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A level of a learned router, or what the dearest way to answer is worth in quality."""


class AskRequest(Record):
    """One question and how to answer it."""

    question: str = Field(min_length=1, max_length=20_000)
    mode: str = "auto"
    """One of `records.MODES`; another one is a `NotFoundError` when answered."""
    adapter: str | None = None
    """`name-vN`; None takes the default adapter where the mode uses one."""
    k: int = Field(default=4, ge=1, le=100)
    """Passages to show at most; fewer if the prompt would not fit, or the router wants fewer."""
    where: dict[str, Any] | None = None
    """Metadata filter, as in `HybridRetriever.search`."""
    groups: tuple[str, ...] = ()
    """Groups of the person who asks."""
    min_kb_version: int | None = Field(default=None, ge=0)
    """Knowledge base version that the passages must have at least."""
    max_new_tokens: int = Field(default=96, ge=1, le=4096)
    require_grounding: bool = False
    """Whether an answer that no quote supports becomes an abstention."""
    retrieval_weight: float | None = Field(default=None, ge=0, le=1)
    """Mode blend: share of the side that sees passages; None takes the configured one."""
    deadline_at: float | None = None
    """Time (seconds since 1970) at which the answer is given up; it travels to every stage. The
    machines' clocks are taken to agree."""
    reading_adapter: str | None = None
    """Mode blend: adapter of the side that sees passages; None is the base model. `adapter` is that
    of the other side."""
    mu: Mu | None = None
    """Mode auto: what a unit of cost is worth, `quality`, `balanced`, `cheap` or a number; None
    takes the configured one."""
    use_cache: bool = True
    """Whether an answer given before will do, where the service keeps them."""


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
    mean_logprob: float | None = None
    """Of all tokens, nats; on the last piece, where the model tells it."""


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


Combine = Literal["blend", "rag_token", "rag_sequence"]
"""How several views become one output: the modes of these names."""


@dataclass(frozen=True)
class View:
    """One prompt, the weights that read it, and its share of the output."""

    messages: list[Message]
    adapter: str | None = None
    """`name-vN`; None is the base model."""
    weight: float = 1.0


@dataclass(frozen=True)
class GenerateRequest:
    """What is to be written: the output for one prompt, or for several combined."""

    views: tuple[View, ...]
    max_new_tokens: int = 96
    combine: Combine = "blend"
    deadline_at: float | None = None
    """As in `AskRequest`."""

    @classmethod
    def of(
        cls, messages: list[Message], adapter: str | None = None, max_new_tokens: int = 96
    ) -> "GenerateRequest":
        """For one prompt."""
        return cls((View(messages, adapter),), max_new_tokens)


class Generate(Protocol):
    """Writes the output for a request, in one piece or in many."""

    def __call__(self, request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        """The output in order."""
