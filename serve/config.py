"""The service's configuration: the `args:` of `serve/app.yaml`.

One section for each deployment, and one for the answering graph, which runs in the API's.
"""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from data_pipelines.config import RetrievalConfig
from rayraft.answer_cache import CacheConfig
from rayraft.answering import AnswerSettings
from rayraft.config import Config
from rayraft.prompt_budget import PromptBudget
from rayraft.protocols import Mu
from rayraft.router import RouterConfig
from rayraft.views import MixConfig
from rayraft.writing import RowLimits
from serve.engine_config import OpenAIConfig, VllmConfig
from serve.scaling import ScaleConfig, SleepingScaleConfig


class ApiConfig(Config):
    """The HTTP ingress."""

    keys: str = ""
    """File or URI of the API keys (`rayraft keys`). Without it whoever reaches the port is let in,
    and only over loopback."""
    keys_poll_s: float = Field(default=2, gt=0)
    """Age at which the keys are read again: so long a revoked key still opens."""
    default_groups: list[str] = Field(default_factory=list)
    """Groups of every request, whoever sends it; those of its key come on top."""
    trust_client_groups: bool = False
    """Take `rayraft.groups` of a request as true; only without keys, behind a gateway on this
    machine that sets them."""
    allow_writes: bool = True
    """Whether PUT and DELETE of documents are answered."""
    allow_feedback: bool = True
    """Whether POST of feedback is answered; refresh learns from it."""
    max_body_bytes: int = Field(default=10 * 2**20, ge=1024)
    """Longer request bodies are refused with 413."""
    request_timeout_s: float = Field(default=60, gt=0)
    """A request that takes longer is given up with 504. A stream has this time for each piece: once
    it has begun, the error is told inside it."""
    max_new_tokens: int = Field(default=96, ge=1, le=4096)
    """Tokens per answer if the request sets none; a request may lower it, not raise it."""
    scale: ScaleConfig = Field(
        default_factory=lambda: ScaleConfig(target_ongoing_requests=64, max_ongoing_requests=256)
    )
    """One process on one machine listens itself; several have Serve's proxy before them."""

    @model_validator(mode="after")
    def _groups_from_one_place(self) -> "ApiConfig":
        if self.keys and self.trust_client_groups:
            raise ValueError("trust_client_groups=true: with keys, it is the key that says groups")
        return self

    @property
    def max_in_flight(self) -> int:
        """Requests at which a replica refuses more itself, in the API's own error shape.

        Below what Serve lets in, so that a refusal does not have to queue for its turn.
        """
        ongoing = self.scale.max_ongoing_requests
        return max(1, ongoing - ongoing // 8)


class AnsweringConfig(Config):
    """The graph that chooses the mode and asks retriever and generator, in the API's processes."""

    default_adapter: str | None = "champion"
    """`name-vN` for raft, auto and blend, null for none, or `champion`: the one promoted, else the
    newest trained with passages (for blend: to answer by heart, if there is one)."""
    adapter_poll_s: float = Field(default=2, gt=0)
    """Age at which the list of published adapters is read again."""
    max_prompt_tokens: int = Field(default=1536, ge=128)
    """Passages are shown as far as they fit."""
    router: str | None = "latest"
    """Mode `auto`: the name of a learned router, `latest` for the newest that fits base model,
    adapter and prompts, or null for the rule alone."""
    mu: Mu = "quality"
    """What a learned router pays for quality, where the request says nothing."""
    rule: RouterConfig = Field(default_factory=RouterConfig)
    """Thresholds of the rule that decides mode `auto` where no learned router fits."""
    mix: MixConfig = Field(default_factory=MixConfig)
    """How blend, rag_token and rag_sequence combine distributions."""
    cache: CacheConfig = Field(default_factory=CacheConfig)
    """Answers that are given again; off by default."""

    @property
    def answer_settings(self) -> AnswerSettings:
        """What the answering logic is told."""
        return AnswerSettings(PromptBudget(self.max_prompt_tokens), self.rule, self.mix, mu=self.mu)


class RetrieverConfig(Config):
    """The deployment that searches."""

    poll_s: float = Field(default=0.5, gt=0)
    """How often a replica looks for a new knowledge base version."""
    wait_s: float = Field(default=10, gt=0)
    """How long a request with `min_kb_version` waits for it, then 504."""
    threads: int = Field(default=1, ge=1)
    """Torch threads of the embedder, and searches at the same time; only their short way through
    the index in memory is one at a time."""
    retrieval: RetrievalConfig = Field(default_factory=RetrievalConfig)
    """How dense search and BM25 are done and combined."""
    shards: int = Field(default=1, ge=1, le=256)
    """Parts that the documents are spread over, each with its own replicas, for more chunks than
    one machine should hold."""
    shard_timeout_s: float = Field(default=2, gt=0)
    """A shard that takes longer is left out, and the result says `partial`."""
    overlap_s: float = Field(default=120, gt=0)
    """With shards: how long each keeps its old index after `kb reembed` and after it was last asked
    for, so that all of them answer by one embedder until the slowest has opened its new one."""
    upkeep_s: float = Field(default=5, gt=0)
    """How often a replica looks whether its index must be built anew."""
    scale: ScaleConfig = Field(
        default_factory=lambda: ScaleConfig(
            max_replicas=4, target_ongoing_requests=8, max_ongoing_requests=64, num_cpus=0.5
        )
    )
    """Queries that wait share a forward pass, so that a replica takes several with ease."""


class GeneratorConfig(Config):
    """The deployment that writes."""

    engine: Literal["transformers", "openai", "vllm"] = "transformers"
    """`transformers`: in this process; `openai`: an OpenAI-compatible endpoint; `vllm`: vLLM in a
    deployment of its own."""
    openai: OpenAIConfig = Field(default_factory=OpenAIConfig)
    """The endpoint of engine `openai`, for which the model's settings below mean nothing."""
    vllm: VllmConfig = Field(default_factory=VllmConfig)
    """Of engine `vllm`. Of the settings below base model, dtype, threads (on CPUs), loaded adapters
    and scale are its, too."""
    base_model: str = "mini"
    """`mini`, a folder, or a model of the hub."""
    device: str = "auto"
    dtype: str = "auto"
    """`bfloat16`, `float16`, `float32`, or `auto`: what the device is quick at (bf16 where it is
    multiplied in hardware)."""
    threads: int = Field(default=2, ge=1)
    """Torch threads, and requests that the shipped model reads at the same time."""
    max_batch_size: int = Field(default=8, ge=1)
    """Concurrent requests that share one forward pass."""
    continuous: bool = True
    """Whether requests join and leave a running batch (causal models with plain attention; others
    are written in batches that end together)."""
    cache_tokens: int = Field(default=16384, ge=64)
    """Of continuous batching: requests times tokens of the longest of them, prompt and answer. It
    bounds the memory of their keys and values; who does not fit waits."""
    prefill_tokens: int = Field(default=512, ge=1)
    """Of continuous batching: tokens of a prompt that are read between two tokens of the others."""
    max_waiting: int = Field(default=64, ge=0)
    """Of continuous batching: requests that wait for room; more are refused with 429."""
    max_batches: int = Field(default=2, ge=1, le=16)
    """Batches that take turns with the model, step by step: a request that cannot join one that
    runs (it came later, or has another adapter) need not wait for its end."""
    max_loaded_adapters: int = Field(default=4, ge=1)
    """Adapters held in memory; the one that was not used for longest goes."""
    scale: SleepingScaleConfig = Field(
        default_factory=lambda: SleepingScaleConfig(
            max_replicas=2, target_ongoing_requests=8, max_ongoing_requests=32, num_cpus=0.5
        )
    )
    """Another replica, whose start takes CPU seconds from the answers, comes where more requests
    are open than share a batch."""

    @property
    def row_limits(self) -> RowLimits | None:
        """What continuous batching may hold at once; None: there is none."""
        if not self.continuous:
            return None
        return RowLimits(self.max_batch_size, self.cache_tokens, self.prefill_tokens)

    @model_validator(mode="after")
    def _endpoint_is_said(self) -> "GeneratorConfig":
        if self.engine == "openai" and not (self.openai.base_url and self.openai.served_model):
            raise ValueError("engine=openai: needs openai.base_url and openai.served_model")
        return self

    @model_validator(mode="after")
    def _vllm_can(self) -> "GeneratorConfig":
        if self.engine != "vllm":
            return self
        if self.base_model == "mini":
            raise ValueError("base_model='mini': the shipped model needs engine=transformers")
        if self.max_loaded_adapters < self.vllm.max_loras:
            raise ValueError(
                f"max_loaded_adapters={self.max_loaded_adapters} is below "
                f"vllm.max_loras={self.vllm.max_loras}"
            )
        if self.scale.num_gpus:
            raise ValueError(
                f"scale.num_gpus={self.scale.num_gpus}: with engine=vllm, tensor_parallel_size and "
                "pipeline_parallel_size of vllm.engine say how many GPUs a replica has"
            )
        return self


class WriterConfig(Config):
    """The deployment that changes the knowledge base: one replica, so that writes have an order."""

    threads: int = Field(default=1, ge=1)
    """Torch threads of the embedder."""
    scale: ScaleConfig = Field(default_factory=lambda: ScaleConfig(max_ongoing_requests=8))

    @field_validator("scale")
    @classmethod
    def _single(cls, scale: ScaleConfig) -> ScaleConfig:
        if scale.max_replicas != 1:
            raise ValueError(f"writer.scale.max_replicas={scale.max_replicas}: must be 1")
        return scale


class AppConfig(Config):
    """Everything that `build_app` needs."""

    store: str = ""
    """Folder or URI; empty takes the environment variable RAYRAFT_STORE."""
    api: ApiConfig = Field(default_factory=ApiConfig)
    answering: AnsweringConfig = Field(default_factory=AnsweringConfig)
    retriever: RetrieverConfig = Field(default_factory=RetrieverConfig)
    generator: GeneratorConfig = Field(default_factory=GeneratorConfig)
    writer: WriterConfig = Field(default_factory=WriterConfig)
