"""Which prompts an answer is made from: one, or several whose distributions are combined.

A *view* is one prompt with its weights (base model or adapter) and its share of the whole:

| mode | views | combined |
|---|---|---|
| `closed_book`, `rag`, `raft` | one | - |
| `blend` | the question alone; with all passages | token by token, w for the second |
| `rag_token` | the question with each passage by itself | token by token, by p(passage) |
| `rag_sequence` | the same | by whole answers |

Source: RAG-Token and RAG-Sequence, arXiv 2005.11401, equations of section 2.1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import Field

from rayraft.config import Config
from rayraft.prompt_budget import PromptBudget, fit_passages
from rayraft.prompts import answer_messages
from rayraft.protocols import Combine, View
from rayraft.records import Mode, Passage

PASSAGE_MODES: tuple[Mode, ...] = ("rag_sequence", "rag_token")
"""Modes with one view for each passage."""


class MixConfig(Config):
    """How distributions are combined."""

    retrieval_weight: float = Field(default=0.5, ge=0, le=1)
    """Mode blend: share of the side that sees passages, unless the request says one; 0 is
    closed_book, 1 is rag."""
    cosine_scale: float = Field(default=20.0, gt=0)
    """p(passage given question) is the softmax of the cosines times this: 20 is the scale under
    which sentence-transformers train MiniLM, so the softmax is the embedder's own likelihood."""


def passage_weights(passages: Sequence[Passage], cosine_scale: float) -> list[float]:
    """p(passage given question) among the passages shown; they sum to 1.

    A passage that full-text search alone found gets the lowest cosine of the others.
    """
    known = [p.dense_score for p in passages if p.dense_score is not None]
    lowest = min(known, default=0.0)
    cosines = [lowest if p.dense_score is None else p.dense_score for p in passages]
    highest = max(cosines, default=0.0)
    odds = [math.exp(cosine_scale * (cosine - highest)) for cosine in cosines]
    return [each / sum(odds) for each in odds]


@dataclass(frozen=True)
class Sides:
    """The weights that read prompts, and how much each counts."""

    memory: str | None = None
    """Adapter of prompts without passages; None is the base model."""
    reading: str | None = None
    """Adapter of prompts with passages."""
    retrieval_weight: float = 0.5
    """Share of the prompt with passages in `blend`."""
    cosine_scale: float = 20.0


def make_views(
    mode: Mode, question: str, passages: Sequence[Passage], sides: Sides
) -> tuple[View, ...]:
    """The views of a mode (not `auto`, which has become another one); none without weight."""
    alone = View(answer_messages(question, []), sides.memory)
    if mode == "closed_book" or (mode == "blend" and not passages):
        return (alone,)
    if mode in PASSAGE_MODES and passages:
        shares = passage_weights(passages, sides.cosine_scale)
        return tuple(
            View(answer_messages(question, [passage]), sides.reading, share)
            for passage, share in zip(passages, shares, strict=True)
        )
    shown = View(answer_messages(question, passages), sides.reading)
    if mode != "blend":
        return (shown,)
    w = sides.retrieval_weight
    both = (replace(alone, weight=1 - w), replace(shown, weight=w))
    return tuple(view for view in both if view.weight > 0)


def combine_of(mode: Mode) -> Combine:
    """How the views of a mode are combined; means nothing where there is one view."""
    return mode if mode == "rag_sequence" or mode == "rag_token" else "blend"


def fit_shown(
    mode: Mode, question: str, passages: Sequence[Passage], budget: PromptBudget
) -> list[Passage]:
    """The passages that fit: into one prompt together, or each into a prompt of its own."""
    if mode in PASSAGE_MODES:
        return [cut for passage in passages for cut in fit_passages(question, [passage], budget)]
    return fit_passages(question, passages, budget)
