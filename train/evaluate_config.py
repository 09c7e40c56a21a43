"""What an evaluation is told. Needs neither Ray nor torch."""

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from data_pipelines.config import RetrievalConfig
from rayraft.arms import parse_arm
from rayraft.config import Config
from rayraft.errors import InputError, NotFoundError
from rayraft.protocols import Mu
from rayraft.records import COMBINED_MODES, MODES
from rayraft.views import MixConfig

GOLDEN = "golden"
"""Mode of the evaluation alone: base model and passages of the golden documents."""
SEARCH = "search"
"""Mode of the evaluation alone: retrieval without an answer."""
ALL_MODES = (*MODES, GOLDEN, SEARCH)


class EvaluateConfig(Config):
    """One evaluation."""

    modes: tuple[str, ...] = tuple(mode for mode in MODES if mode not in COMBINED_MODES)
    """Any of closed_book, rag, raft, rag_sequence, rag_token, blend, auto, golden, search;
    `rag:k=1` shows one passage, `blend:w=0.3` gives it that weight."""
    base_model: str = Field(default="mini", min_length=1)
    adapter: str | None = None
    """`name` or `name-vN`, for raft and auto; None: the newest one that was trained on passages."""
    adapter_closed_book: str | None = None
    """For closed_book and that side of blend; None: `adapter` if it is named, else the newest one
    that was trained without passages (sft, mixed), else the one of raft."""
    k: int = Field(default=4, ge=1, le=100)
    """Passages retrieved for a question."""
    golden_distractors: int = Field(default=0, ge=0, le=50)
    """Mode golden: hard distractors among the golden documents' passages."""
    retrieval: RetrievalConfig = RetrievalConfig()
    """How passages are searched."""
    mix: MixConfig = MixConfig()
    """How blend, rag_token and rag_sequence combine distributions; `mix.retrieval_weight` is w."""
    max_new_tokens: int = Field(default=96, ge=1, le=4096)
    max_prompt_tokens: int = Field(default=1536, ge=128)
    """Passages that would make the prompt longer are left out, as in the service."""
    router: str | None = "latest"
    """Mode auto: the name of a learned router, `latest` for the newest that fits, null for the rule
    alone. On questions that it was learned from its score is too good: see its own report."""
    mu: Mu = "quality"
    """Mode auto: what a learned router pays for quality."""
    actors: int | None = Field(default=None, ge=1, le=4096)
    """Processes that answer side by side; None: as many as there are CPUs, at most 16."""
    cpus_per_actor: float = Field(default=1.0, gt=0)
    gpus_per_actor: float = Field(default=0.0, ge=0)
    seed: int = Field(default=0, ge=0)
    """Of the bootstrap and of the order of passages in mode golden."""

    @model_validator(mode="after")
    def _modes_are_known(self) -> Self:
        check_modes(self.modes)
        return self


def parse_modes(text: str) -> tuple[str, ...]:
    """The modes of a comma-separated list, each once.

    Raises:
        NotFoundError: One of them does not exist.
        InputError: There is none.
    """
    modes = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    check_modes(modes)
    return modes


def check_modes(modes: Sequence[str]) -> None:
    """Refuses unknown modes.

    Raises:
        NotFoundError: A mode does not exist.
        InputError: There is none, or its settings are malformed.
    """
    unknown = [mode for mode in modes if parse_arm(mode).mode not in ALL_MODES]
    if unknown:
        raise NotFoundError(f"mode {unknown[0]!r} does not exist; modes: {', '.join(ALL_MODES)}")
    if not modes:
        raise InputError(f"modes: none given; modes: {', '.join(ALL_MODES)}")
