"""What the training of a reranker on a store's own questions is told."""

from typing import Self

from pydantic import Field, model_validator

from rayraft.config import Config
from train.config import TrainConfig

SCHEDULE = TrainConfig(
    base_model="mini-reranker",
    tuning="full",
    freeze=["shared"],
    dropout=0.1,
    learning_rate=5e-5,
    warmup_fraction=0.1,
    final_learning_rate_fraction=0.02,
    epochs=1,
    log_every_steps=5,
)
"""A tenth of the rate that the shipped reranker was trained at: it goes on from there."""


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
    train: TrainConfig = SCHEDULE

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        if self.train.tuning != "full":
            raise ValueError("train.tuning: must be full; a reranker is published whole")
        return self
