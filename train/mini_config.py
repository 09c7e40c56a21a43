"""What the shipped model is trained on and for how long: the classes behind `train/mini.yaml`."""

from typing import Literal

from pydantic import Field

from rayraft.config import Config
from train.config import TrainConfig

Task = Literal["read", "read_among", "abstain", "write_question", "closed_book"]


class DataSet(Config):
    """One question-answering set: `<data>/<name>/{corpus.jsonl,queries.train.jsonl}`."""

    name: str = Field(min_length=1)
    read: float = Field(0.0, ge=0)
    """Relative share of this set among reading rows."""
    write_question: float = Field(0.0, ge=0)
    """Relative share of this set among question-writing rows."""
    join: int = Field(1, ge=1, le=8)
    """Passages that are single sentences are joined, up to this many, into one."""


class Mixture(Config):
    """Which rows, and how many."""

    rows: int = Field(48_000, ge=1)
    seed: int = Field(0, ge=0)
    tasks: dict[Task, float]
    """Relative share of each task."""
    sets: list[DataSet] = Field(min_length=1)
    max_passage_words: int = Field(110, ge=20, le=350)
    max_distractor_words: int = Field(80, ge=10, le=350)
    max_distractors: int = Field(3, ge=1, le=8)
    contrast: float = Field(0.0, ge=0, le=1)
    """Share of the rows with distractors whose distractors are copies of the golden passage about
    somebody else (see `counterfactuals`), where the question has a name to change."""
    max_quote_chars: int = Field(160, ge=40)
    held_out: float = Field(0.02, gt=0, lt=0.5)
    """Share of the train questions kept for the validation loss."""


class Stage(Config):
    """One mixture with its schedule; it goes on from the weights of the stage before."""

    mixture: Mixture
    train: TrainConfig


class MiniTraining(Config):
    """The whole of `train/mini.yaml`."""

    stages: list[Stage] = Field(min_length=1)
