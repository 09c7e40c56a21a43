"""What a search over training settings is told. Needs neither Ray nor torch."""

from typing import Self

from pydantic import Field, model_validator

from rayraft.config import Config
from train.config import TrainConfig


class SearchSpace(Config):
    """The values that trials are drawn from; an empty list leaves a setting as `train` has it."""

    lora_r: tuple[int, ...] = (4, 8, 16, 32)
    """`lora.alpha` changes with it, so that alpha / r stays."""
    learning_rate: tuple[float, float] = (1e-4, 3e-3)
    """Least and most; drawn evenly on a logarithmic scale."""
    golden_fraction: tuple[float, ...] = ()
    """RAFT's P: at most that of the run, and below it only with fewer distractors than it has."""
    distractors: tuple[int, ...] = ()
    """RAFT's k: at most that of the run."""


class TuneConfig(Config):
    """One search: asynchronous successive halving (ASHA, arXiv 1810.05934) over random trials."""

    search: SearchSpace = SearchSpace()
    trials: int = Field(default=16, ge=1, le=10_000)
    """At most so many."""
    budget_s: float | None = Field(default=None, gt=0)
    """Seconds for the whole search, each time that it is started; None: until all trials are."""
    steps: int = Field(default=200, ge=2)
    """Of a trial that is never stopped; takes the place of `train.max_steps`."""
    rungs: int = Field(default=4, ge=1, le=50)
    """Validations of a trial, evenly over its steps: at each it may be stopped."""
    reduction: int = Field(default=3, ge=2, le=10)
    """Of the trials that reach a rung where trials are compared, one in so many goes on."""
    parallel: int | None = Field(default=None, ge=1)
    """Trials at one time; None: as many as the cluster holds."""
    seed: int = Field(default=0, ge=0)
    """Of the draws; that of each training is `train.seed`."""
    train: TrainConfig = TrainConfig()
    """What all trials have in common."""

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        low, high = self.search.learning_rate
        if not 0 < low <= high <= 1:
            raise ValueError(f"search.learning_rate={[low, high]}: must be 0 < least <= most <= 1")
        if self.rungs > self.steps:
            raise ValueError(f"rungs={self.rungs}: must be at most steps={self.steps}")
        if self.train.tuning != "lora" or self.train.start_from:
            raise ValueError("train: must be tuning=lora without start_from")
        if self.train.early_stopping_patience or self.train.average_from_step:
            raise ValueError(
                "train: must be without early_stopping_patience and average_from_step; "
                "trials are stopped by their comparison"
            )
        return self

    @property
    def rung_steps(self) -> int:
        """Steps between two validations."""
        return self.steps // self.rungs


def trial_config(config: TuneConfig, drawn: dict[str, float]) -> TrainConfig:
    """The training of one trial.

    Args:
        config: Of the search.
        drawn: Values by setting, of those that the search space names.

    Raises:
        ValueError: A drawn value is out of bounds.
    """
    values = config.train.model_dump()
    values |= {
        "max_steps": config.steps,
        "eval_every_steps": config.rung_steps,
        "checkpoint_every_steps": config.rung_steps,
    }
    drawn = dict(drawn)
    if "lora_r" in drawn:
        r = int(drawn.pop("lora_r"))
        ratio = config.train.lora.alpha / config.train.lora.r
        values["lora"] = values["lora"] | {"r": r, "alpha": ratio * r}
    return TrainConfig(**(values | drawn))
