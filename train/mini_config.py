"""What the shipped model is trained on and for how long: the classes behind `train/mini.yaml`."""

from typing import Literal

from pydantic import Field

from rayraft.config import Config
from train.config import TrainConfig

Task = Literal[
    "read",
    "read_among",
    "abstain",
    "look_up",
    "cloze",
    "closed_book",
    "write_question",
    "ask_look_up",
]


class DataSet(Config):
    """One question-answering set: `<data>/<name>/{corpus.jsonl,queries.train.jsonl}`."""

    name: str = Field(min_length=1)
    read: float = Field(0.0, ge=0)
    """Relative share of this set among reading rows."""
    write_question: float = Field(0.0, ge=0)
    """Relative share of this set among question-writing rows."""
    abstain: float = Field(1.0, ge=0)
    """Relative share of this set's unanswerable questions, if it has any, among all sets'."""
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
    near: float = Field(0.0, ge=0, le=1)
    """Share of the distractors that are the passages nearest to the question by its words; of the
    rest, half are from the golden passage's article."""
    unanswerable: float = Field(0.5, ge=0, le=1)
    """Share of the abstaining rows that are people's questions about a passage without the answer;
    the others are answerable questions shown with distractors alone."""
    absent: float = Field(0.2, ge=0, le=1)
    """Share of the `look_up` rows whose passages leave out what is asked for."""
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


class RerankSet(Config):
    """One retrieval set: its questions, and the corpus that negatives are searched in."""

    name: str = Field(min_length=1)
    questions: int | None = Field(default=None, ge=1)
    """At most so many of them."""


class RerankStage(Config):
    """The reranker's rows and schedule; it begins with the reader's encoder."""

    sets: list[RerankSet] = Field(min_length=1)
    candidates: int = Field(default=50, ge=2, le=1000)
    """Hits of hybrid search that negatives are chosen from."""
    negatives: int = Field(default=6, ge=1, le=63)
    """Per question."""
    max_tokens: int = Field(default=192, ge=32, le=512)
    """Of a question with a passage; the passage's end is cut off."""
    seed: int = Field(default=0, ge=0)
    held_out: float = Field(default=0.02, gt=0, lt=0.5)
    """Share of the train questions kept for the validation loss."""
    train: TrainConfig


class Reading(Config):
    """How the finished reader answers from passages (`rayraft/mini/span_reading.py`)."""

    span_candidates: int = Field(default=0, ge=0, le=64)
    """Spans that are tried as answers; 0: answers are written word by word."""
    span_trust: float = Field(default=1.0, ge=0)
    """What the encoder's score of a span counts beside the decoder's of the answer."""
    abstain_lean: float = 0.0
    """Added to the score of abstaining, nats."""


class MiniTraining(Config):
    """The whole of `train/mini.yaml`."""

    stages: list[Stage] = Field(min_length=1)
    """Of the reader and question writer."""
    answer_bias: float = 0.0
    """Added to the logit of beginning a quote after the last stage: above 0 the reader answers
    where it would abstain. Chosen on train questions kept aside."""
    reading: Reading = Reading()
    """Chosen, like `answer_bias`, on train questions kept aside."""
    reranker: RerankStage | None = None
