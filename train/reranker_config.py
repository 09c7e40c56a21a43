"""What the training of a reranker on a store's own questions is told."""

from typing import Literal

from pydantic import Field

from rayraft.config import Config
from train.config import TrainConfig


class RerankerSchedule(TrainConfig):
    """A training whose defaults go on from the shipped reranker, at a fraction of its rate."""

    base_model: str = Field(default="mini-reranker", min_length=1)
    """`mini-reranker`, one of the store (`name-vN`), or the folder of one."""
    tuning: Literal["full"] = "full"
    """A reranker is published whole."""
    freeze: list[str] = Field(default_factory=lambda: ["shared"])
    """Its word embeddings are MiniLM's."""
    dropout: float | None = Field(default=0.1, ge=0, lt=1)
    """Of the layers."""
    learning_rate: float = Field(default=5e-5, gt=0, le=1)
    """A quarter of the rate that it was made with."""
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly."""
    epochs: int = Field(default=1, ge=1, le=10_000)
    """Passes over the questions."""


class RerankerConfig(Config):
    """Rows and schedule."""

    candidates: int = Field(default=50, ge=2, le=1000)
    """Hits of hybrid search that negatives are chosen from; as many are put in order to measure."""
    negatives: int = Field(default=5, ge=1, le=63)
    """Per question."""
    max_tokens: int = Field(default=192, ge=32, le=512)
    """Of a question with a passage; the passage's end is cut off."""
    max_questions: int | None = Field(default=None, ge=1)
    """Train on so many, chosen by seed; None takes all."""
    held_out: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of given questions kept aside; RAFT runs have a validation side of their own."""
    measured: int = Field(default=200, ge=0)
    """Held-out questions that the ranking is measured on, before and after."""
    seed: int = Field(default=0, ge=0)
    train: RerankerSchedule = RerankerSchedule()
