"""What a comparison is told. Needs neither Ray nor torch."""

from typing import Self

from pydantic import Field, model_validator

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


class LoadSettings(Config):
    """Latency while several clients ask at the same time."""

    clients: int = Field(default=4, ge=1, le=1024)
    """Each asks its next question as soon as its last one is answered."""
    questions: int = Field(default=24, ge=0)
    """Questions put to each arm; 0: load is not measured."""


class JudgeSettings(Config):
    """An optional model that judges answers by meaning, behind an OpenAI-compatible endpoint."""

    base_url: str | None = Field(default=None, min_length=1)
    """Such as `http://localhost:8000/v1`; None: no judge."""
    model: str = ""
    """As the endpoint names it."""
    key_variable: str = Field(default="OPENAI_API_KEY", min_length=1)
    """The environment variable that holds the endpoint's key; none is sent where it is not set."""
    timeout_s: float = Field(default=60.0, gt=0)
    max_retries: int = Field(default=3, ge=0, le=20)
    """After a timeout, a refused connection, or status 408, 429 or 5xx."""
    max_in_flight: int = Field(default=8, ge=1, le=1024)

    @model_validator(mode="after")
    def _model_is_named(self) -> Self:
        if self.base_url is not None and not self.model:
            raise ValueError("judge.base_url: needs judge.model")
        return self


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
    load: LoadSettings = LoadSettings()
    judge: JudgeSettings = JudgeSettings()
    date_field: str = Field(default="date", min_length=1)
    """In the metadata of documents, for quality by their age; where no golden document has it, the
    version of the knowledge base takes its place."""
    samples: int = Field(default=30, ge=0)
    """Questions whose answers by all arms stand side by side in the report."""
