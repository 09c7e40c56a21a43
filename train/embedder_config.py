"""What the training of an embedder on a store's own questions is told."""

from typing import Self

from pydantic import Field, model_validator

from rayraft.config import Config
from train.config import TrainConfig


class EmbedderSchedule(TrainConfig):
    """A training of LoRA layers in an embedder, which are merged into it at the end."""

    base_model: str = Field(default="minilm", min_length=1)
    """`minilm`, one of the store (`name-vN`), or a folder that the store could be embedded with."""
    contrastive_temperature: float | None = Field(default=0.05, gt=0, le=1)
    """InfoNCE's: the smaller, the more the nearest wrong passages count."""
    start_from: None = None
    """An embedder that was trained is a base of its own."""
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly."""
    epochs: int = Field(default=1, ge=1, le=10_000)
    """Passes over the groups; for other groups of the same questions there is `passes`."""
    global_batch_size: int = Field(default=2, ge=1)
    """Groups of one optimizer step over all workers."""

    @model_validator(mode="after")
    def _learns_to_tell_passages_apart(self) -> Self:
        if self.contrastive_temperature is None:
            raise ValueError("contrastive_temperature=null: must be a number, such as 0.05")
        if self.lora.quantize is not None:
            raise ValueError(f"lora.quantize={self.lora.quantize!r}: not for an embedder")
        return self


class EmbedderConfig(Config):
    """Rows and schedule."""

    group: int = Field(default=16, ge=2, le=1024)
    """Questions whose passages are each other's negatives."""
    negatives: int = Field(default=2, ge=0, le=31)
    """Hard ones of each question: the distractors of its RAFT row, or for people's questions what
    hybrid search returns and does not answer."""
    candidates: int = Field(default=50, ge=2, le=1000)
    """Hits of hybrid search that negatives of people's questions are chosen from."""
    max_tokens: int = Field(default=192, ge=16, le=256)
    """Of a question or passage; the rest is cut off in training, not in measuring."""
    passes: int = Field(default=3, ge=1, le=1000)
    """Over the questions; each puts them into other groups."""
    max_questions: int | None = Field(default=None, ge=1)
    """Train on so many, chosen by seed; None takes all."""
    held_out: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of given questions kept aside; RAFT runs have a validation side of their own."""
    measured: int = Field(default=500, ge=0)
    """Held-out questions that the ranking is measured on, before and after."""
    measured_chunks: int = Field(default=20_000, ge=1)
    """They are searched for among so many chunks: those of golden documents and others, chosen by
    seed; a smaller knowledge base is searched whole."""
    k: int = Field(default=4, ge=1, le=100)
    """Of the recall that is measured: as many passages as a question is answered from."""
    seed: int = Field(default=0, ge=0)
    train: EmbedderSchedule = EmbedderSchedule()
