"""What a refresh is told. Everything here needs neither Ray nor torch."""

import re

from pydantic import Field

from data_pipelines.raft_examples import RaftConfig
from rayraft.config import Config
from rayraft.errors import InputError
from train.config import TrainConfig
from train.evaluate_config import EvaluateConfig

_EVERY = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class GateConfig(Config):
    """When a challenger becomes the champion."""

    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Least probability, by the paired bootstrap over questions, that it is better."""
    max_loss: float = Field(default=0.02, ge=0, le=1)
    """Most token F1 that it may lose in any one set of questions, on average."""
    questions_per_set: int = Field(default=100, ge=1)
    """At most so many questions of each set are asked."""


class RefreshConfig(Config):
    """One refresh: examples, training, comparison."""

    raft: RaftConfig = RaftConfig()
    """How examples are written for changed chunks; feedback takes the same settings."""
    replay: float = Field(default=1.0, ge=0, le=100)
    """Old examples mixed in for each new one, against forgetting."""
    min_replay: int = Field(default=64, ge=0)
    """At least so many old examples, if there are."""
    train: TrainConfig = TrainConfig()
    """`method` decides the role that is refreshed; `start_from` is set to the champion."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How questions are asked; `modes` and adapters are set by the role."""
    gate: GateConfig = GateConfig()


def parse_every(text: str) -> float:
    """Seconds of `90s`, `30m`, `1.5h` or `1d`.

    Raises:
        InputError: Not of this form, or not above zero.
    """
    match = _EVERY.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds <= 0:
        raise InputError(f"--every {text!r}: expected a time such as 90s, 30m, 1.5h or 1d")
    return seconds
