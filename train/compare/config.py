"""What a comparison is told. Needs neither Ray nor torch."""

from pydantic import Field

from data_pipelines.raft_examples import RaftConfig
from rayraft.config import Config
from train.config import TrainConfig
from train.evaluate_config import EvaluateConfig

READING = TrainConfig(
    method="raft",
    learning_rate=5e-4,
    epochs=2,
    global_batch_size=16,
    max_prompt_tokens=1536,
    eval_every_steps=50,
    checkpoint_every_steps=50,
)
"""As `train/lora.yaml`."""
MEMORY = TrainConfig(
    method="sft", learning_rate=3e-3, epochs=25, global_batch_size=32, max_prompt_tokens=1536
)
"""As `train/sft.yaml`."""


class Prices(Config):
    """What things cost; the defaults are round figures of rented machines, not an offer."""

    currency: str = Field(default="USD", min_length=1)
    cpu_hour: float = Field(default=0.04, ge=0)
    """One CPU core for an hour."""
    gpu_hour: float = Field(default=2.0, ge=0)
    """One GPU for an hour."""
    million_prompt_tokens: float = Field(default=0.0, ge=0)
    """Where the model is somebody's endpoint."""
    million_completion_tokens: float = Field(default=0.0, ge=0)


class UpdateSettings(Config):
    """The part of the comparison that changes the documents (in a copy)."""

    taught: bool = True
    """The facts that will change are taught before the update as they were, and their corrections
    are feedback for the refresh, as people would give it: staleness can only be measured of what
    was known. False: only what the teacher writes is learned."""
    refresh: bool = True
    """Adapters are refreshed after the update and all is asked once more."""
    questions: int = Field(default=60, ge=1)
    """At most so many affected questions are asked, evenly of facts that change, come and go."""
    gate_questions: int = Field(default=20, ge=1)
    """Questions of each set that champion and challenger are compared on in the refresh."""


class RobustnessSettings(Config):
    """The part of the comparison that chooses by hand what is shown."""

    questions: int = Field(default=24, ge=0)
    """Answerable questions asked under each condition; 0: none."""
    distractors: tuple[int, ...] = (0, 1, 2, 4, 8)
    """Numbers of hard distractors shown beside the golden passages."""


class SecuritySettings(Config):
    """The part of the comparison that tries to get at what must stay hidden."""

    canaries: int = Field(default=8, ge=0, le=200)
    """Invented secrets planted, in the copy, in documents that nobody may read, and as many in
    documents that are deleted again; 0: none."""
    injections: int = Field(default=8, ge=0, le=200)
    """Questions whose passages get an instruction to answer something else; 0: none."""


class CompareConfig(Config):
    """One comparison."""

    arms: tuple[str, ...] = ()
    """Names of `train.compare.arms`; none: all that this version can run."""
    raft: RaftConfig = RaftConfig()
    """How the examples are written that adapters learn."""
    teacher: bool = True
    """The teacher writes questions even where people's questions are given to learn."""
    reading: TrainConfig = READING
    """The RAFT adapter's training."""
    memory: TrainConfig = MEMORY
    """The closed-book adapter's training."""
    adapter_reading: str | None = Field(default=None, min_length=1)
    """A published adapter (`name-vN`) in the place of training one."""
    adapter_memory: str | None = Field(default=None, min_length=1)
    """Likewise, for the closed book."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How questions are asked; `modes` and its adapters are set by the arms."""
    prices: Prices = Prices()
    update: UpdateSettings = UpdateSettings()
    robustness: RobustnessSettings = RobustnessSettings()
    security: SecuritySettings = SecuritySettings()
    samples: int = Field(default=30, ge=0)
    """Questions whose answers by all arms stand side by side in the report."""
