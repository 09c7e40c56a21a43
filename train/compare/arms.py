"""The arms of a comparison: a mode of answering and the adapter that it uses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rayraft.errors import InputError, NotFoundError
from rayraft.records import MODES

Role = Literal["memory", "reading"]


@dataclass(frozen=True)
class Arm:
    """One way of answering."""

    name: str
    title: str
    mode: str
    adapter: Role | None = None
    """memory: trained closed book; reading: trained with passages."""

    @property
    def retrieves(self) -> bool:
        """Whether passages are searched."""
        return self.mode != "closed_book"


ARMS = (
    Arm("base", "base model, closed book", "closed_book"),
    Arm("sft", "fine-tuned, closed book", "closed_book", "memory"),
    Arm("rag", "base model with passages (RAG)", "rag"),
    Arm("rag_sft", "fine-tuned closed book, with passages", "raft", "memory"),
    Arm("raft", "fine-tuned with passages (RAFT)", "raft", "reading"),
    Arm("rag_sequence", "RAG-Sequence, base model", "rag_sequence"),
    Arm("rag_token", "RAG-Token, base model", "rag_token"),
    Arm("blend", "fine-tuned closed book and RAG, blended", "blend", "memory"),
    Arm("auto", "adaptive: chosen per question", "auto", "reading"),
)
SEARCH = Arm("search", "retrieval alone", "search")
"""No arm: what the retrieval of all arms finds, ranked."""
PROBES = (
    Arm("weights_memory", "the closed-book adapter, closed book", "closed_book", "memory"),
    Arm("weights_reading", "the RAFT adapter, closed book", "closed_book", "reading"),
)
"""No arms: what an adapter's weights tell without any passage."""
GOLDEN = Arm("golden", "base model with the golden passages", "rag")
"""No arm: what reading could reach with perfect retrieval."""


def choose_arms(names: Sequence[str]) -> list[Arm]:
    """The arms of these names in the order of `ARMS`; all that can run where none is named.

    Raises:
        NotFoundError: An arm does not exist, or its mode is not one of this version.
        InputError: An arm is named twice.
    """
    able = [arm for arm in ARMS if arm.mode in MODES]
    if not names:
        return able
    if len(set(names)) < len(names):
        raise InputError(f"arms: {', '.join(names)}: one is named twice")
    known = {arm.name for arm in able}
    for name in names:
        if name not in known:
            raise NotFoundError(f"arm {name!r} does not exist; arms: {', '.join(sorted(known))}")
    return [arm for arm in able if arm.name in names]


def parse_arms(text: str) -> tuple[str, ...]:
    """The names in a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
