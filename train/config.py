"""What a training run is told. Everything here needs neither Ray nor torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rayraft.config import Config
from train.worker_settings import WorkerSettings

Method = Literal["sft", "raft", "mixed"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]
Tracker = Literal["tensorboard", "mlflow"]


class LoraSettings(Config):
    """Low-rank adapters (arXiv 2106.09685)."""

    r: int = Field(default=16, ge=1, le=1024)
    """Width of the low-rank matrices."""
    alpha: float = Field(default=32.0, gt=0)
    """The update is scaled by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    rslora: bool = False
    """The update is scaled by alpha / sqrt(r) instead (arXiv 2312.03732): for larger r."""
    dora: bool = False
    """Magnitude and direction of the weights are learned apart (arXiv 2402.09353)."""
    target_modules: str | list[str] = "all-linear"
    """Module name suffixes, or `all-linear`: every linear layer but the output head."""
    quantize: Literal["nf4"] | None = None
    """nf4: the frozen base in 4 bits a weight (QLoRA, arXiv 2305.14314); needs bitsandbytes. For
    GPUs; on CPUs it works and is slow."""


class TrainConfig(Config):
    """One training run."""

    base_model: str = Field(default="mini", min_length=1)
    """`mini`, a folder, or a model id of the hub; causal or sequence to sequence."""
    method: Method = "raft"
    """raft: with passages. sft: closed book. mixed: rows of both kinds in one training."""
    closed_book_share: float = Field(default=0.5, ge=0, le=1)
    """mixed: this share of the rows is closed book. At 0.5 every example gives both rows; away
    from it the rarer kind is drawn by example and seed."""
    golden_fraction: float | None = Field(default=None, ge=0, le=1)
    """Share of training examples that show their golden passage, at most the RAFT run's; from the
    others it is taken away. None leaves them as they are."""
    distractors: int | None = Field(default=None, ge=0, le=50)
    """Distractors beside the golden passage, at most the RAFT run's. None leaves them all."""
    tuning: Literal["lora", "full"] = "lora"
    lora: LoraSettings = LoraSettings()
    start_from: str | None = Field(default=None, min_length=1)
    """lora: a published adapter (`name-vN`) whose weights training goes on from, in place of new
    ones; `lora` must be as it was there."""
    freeze: list[str] = Field(default_factory=list)
    """Parameter name prefixes that full fine-tuning leaves as they are."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Of the base model's own dropout layers; None leaves what its configuration says."""
    contrastive_temperature: float | None = Field(default=None, gt=0, le=1)
    """The base is an embedder that learns to tell passages apart, by InfoNCE at this temperature;
    for `train-embedder`. None: a model that writes, or a reranker."""

    learning_rate: float = Field(default=3e-4, gt=0, le=1)
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly."""
    final_learning_rate_fraction: float = Field(default=0.1, ge=0, le=1)
    """The linear decay ends at this share of `learning_rate`."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Applied to matrices only."""
    adam_betas: tuple[float, float] = (0.9, 0.98)
    gradient_clip: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient; 0 clips nothing."""

    epochs: int = Field(default=3, ge=1, le=10_000)
    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; overrides `epochs`."""
    global_batch_size: int = Field(default=32, ge=1)
    """Rows of one optimizer step over all workers."""
    micro_batch_tokens: int = Field(default=4096, ge=16)
    """Padded tokens of one forward pass on one worker (source and target together)."""
    packing: bool = False
    """Causal models: the rows of a forward pass stand side by side in one sequence instead of
    padded to the longest; attention stays within a row. Pays with attention kernels that skip what
    is masked, on GPUs; without them the rows are better padded."""
    max_prompt_tokens: int = Field(default=1024, ge=16)
    """A longer prompt loses its last distractors; a row that is still longer is left out."""
    max_completion_tokens: int = Field(default=192, ge=4)
    """A row with a longer completion is left out."""

    zero_stage: Literal[0, 1, 2, 3] = 1
    """What DeepSpeed shards: 1 optimizer state, 2 and gradients, 3 and weights; 0 nothing."""
    offload: bool = False
    """Optimizer state (and, at stage 3, weights) in the memory of the host."""
    precision: Precision = "auto"
    """Of weights and arithmetic; master weights, gradient sums and moments are fp32. auto: what all
    workers are quick at: bf16 where it is multiplied in hardware, else fp16 on GPUs and fp32 on
    CPUs (and fp32 at zero_stage=0)."""
    gradient_checkpointing: bool = False

    seed: int = Field(default=0, ge=0)
    workers: WorkerSettings = WorkerSettings()
    log_every_steps: int = Field(default=10, ge=1)
    eval_every_steps: int | None = Field(default=None, ge=1)
    """Validation loss at these steps; it is always measured at the end."""
    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Training ends after so many validations in a row without a lower loss, and its result are
    the weights of the lowest; needs `eval_every_steps`. None trains to the end."""
    min_improvement: float = Field(default=0.0, ge=0)
    """A validation loss counts as lower if it is so by more than this."""
    checkpoint_every_steps: int | None = Field(default=None, ge=1)
    """None: only at the end."""
    average_from_step: int | None = Field(default=None, ge=1)
    """The result is the mean of the weights at all checkpoints from this step on; None takes the
    last. Helps where a model is trained long on little data."""
    max_failures: int = Field(default=2, ge=-1)
    """Restarts from the last checkpoint after a worker died; -1 is without limit."""
    collective_timeout_s: int = Field(default=300, ge=10)
    """A collective that takes longer means that a worker hangs."""
    trackers: tuple[Tracker, ...] = ("tensorboard",)
    """Where the curve also goes. tensorboard: event files in the run's folder. mlflow: the server
    that MLFLOW_TRACKING_URI names; needs the package mlflow-skinny."""

    @model_validator(mode="after")
    def _rows_fit_together(self) -> Self:
        if self.max_prompt_tokens + self.max_completion_tokens > self.micro_batch_tokens:
            raise ValueError(
                f"micro_batch_tokens={self.micro_batch_tokens}: must hold one row of "
                f"max_prompt_tokens={self.max_prompt_tokens} + "
                f"max_completion_tokens={self.max_completion_tokens}"
            )
        if self.closed_book_share != 0.5 and self.method != "mixed":
            raise ValueError(f"closed_book_share={self.closed_book_share}: only for method=mixed")
        if self.early_stopping_patience is None:
            return self
        if self.eval_every_steps is None or self.average_from_step is not None:
            raise ValueError(
                f"early_stopping_patience={self.early_stopping_patience}: needs eval_every_steps, "
                "and average_from_step=null, which decides on the result in another way"
            )
        return self

    @model_validator(mode="after")
    def _weights_fit_together(self) -> Self:
        if self.freeze and self.tuning == "lora":
            raise ValueError(f"freeze={self.freeze}: only for tuning=full; lora freezes the base")
        if self.start_from and self.tuning != "lora":
            raise ValueError(f"start_from={self.start_from!r}: only for tuning=lora")
        if self.offload and self.zero_stage == 0:
            raise ValueError("offload=True: needs zero_stage 1, 2 or 3")
        if self.zero_stage == 0 and self.precision not in ("auto", "fp32"):
            raise ValueError(
                f"zero_stage=0: needs precision=fp32, not {self.precision}; "
                "stage 1 keeps the fp32 sums that it lacks"
            )
        if self.precision == "fp16" and not self.workers.gpus_per_worker:
            raise ValueError("precision=fp16: needs workers.gpus_per_worker=1; use bf16 or fp32")
        return self

    @model_validator(mode="after")
    def _quantized_base_can_be_trained(self) -> Self:
        if self.lora.quantize is None:
            return self
        needed = {
            "tuning=lora": self.tuning == "lora",
            "precision=bf16 or fp16": self.precision != "fp32",
            "zero_stage 1 or 2": self.zero_stage != 3,
        }
        lacking = [what for what, there in needed.items() if not there]
        if lacking:
            raise ValueError(f"lora.quantize={self.lora.quantize!r}: needs {', '.join(lacking)}")
        return self


FREE_SETTINGS = frozenset(
    {
        "workers",
        "zero_stage",
        "offload",
        "packing",
        "max_failures",
        "collective_timeout_s",
        "log_every_steps",
        "trackers",
        "eval_every_steps",
        "checkpoint_every_steps",
    }
)
"""How and where the steps are computed, and how often that is looked at."""


def deciding_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that decide what a run's steps compute; with others a run is another run.

    The base model counts by its digest and not by its name, so callers add the one and this
    leaves out the other.
    """
    free = {*FREE_SETTINGS, "base_model"}
    if config.average_from_step is not None:
        free.remove("checkpoint_every_steps")  # it says which weights are averaged
    if config.early_stopping_patience is not None:
        free.remove("eval_every_steps")  # it says where training may end
    if config.contrastive_temperature is None:
        free.add("contrastive_temperature")  # runs of before it was a setting are the same
    return config.model_dump(mode="json", exclude=free)


def learning_rate(step: int, total_steps: int, config: TrainConfig) -> float:
    """The rate of step `step` (from 0): linear warm-up, then linear decay."""
    warmup = round(config.warmup_fraction * total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total_steps - warmup)
    end = config.final_learning_rate_fraction
    return config.learning_rate * (1 - (1 - end) * min(1.0, progress))
