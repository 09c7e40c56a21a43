"""Settings of the engines that are not in this process."""

import math
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from rayraft.config import Config

LoraRank = Literal[1, 8, 16, 32, 64, 128, 256, 320, 512]
"""What vLLM has kernels for."""
RESERVED = {
    "model": "generator.base_model",
    "dtype": "generator.dtype",
    "max_cpu_loras": "generator.max_loaded_adapters",
    "max_loras": "generator.vllm.max_loras",
    "max_lora_rank": "generator.vllm.max_lora_rank",
    "enable_lora": "generator.vllm.max_loras",
    "data_parallel_size": "generator.scale.max_replicas",
}
"""Engine arguments that other settings say."""
REFUSED = {
    "trust_remote_code": "would run code that comes with a model",
    "tokenizer": "prompts are written with the base model's own tokenizer",
    "served_model_name": "the service names models itself",
    "generation_config": "answers are greedy, so that they repeat",
    "distributed_executor_backend": "Ray chooses it",
}
"""Engine arguments that nobody may set here, and why."""


class OpenAIConfig(Config):
    """An OpenAI-compatible endpoint that writes; its key is RAYRAFT_GENERATOR_API_KEY."""

    base_url: str = ""
    """Such as `http://127.0.0.1:8000/v1`."""
    served_model: str = ""
    """What the endpoint calls the model."""
    base_digest: str = ""
    """Digest of that model, if the endpoint also serves this store's adapters, each under its id
    as the model's name (as vLLM does with `--lora-modules`); empty: no adapters."""
    timeout_s: float = Field(default=60, gt=0)
    """For one try; of a stream, for each piece."""
    connect_timeout_s: float = Field(default=5, gt=0)
    max_retries: int = Field(default=2, ge=0, le=10)
    """After a refused or broken connection, a timeout, 408, 409, 429 or 5xx; never once a stream
    has begun. Waits grow from 0.5 s to 8 s, or are what the endpoint asks for."""
    breaker_failures: int = Field(default=5, ge=1)
    """After so many failed requests in a row none are sent for a while: callers get 503 at once."""
    breaker_rest_s: float = Field(default=10, gt=0)
    """How long; then one request is let through to see."""


class VllmConfig(Config):
    """vLLM through `ray.serve.llm`, in a deployment of its own that `generator.scale` is about."""

    python: str = ""
    """Interpreter of an environment that has vLLM, on every node that may run it; empty: that of
    the service."""
    engine: dict[str, Any] = Field(default_factory=dict)
    """Engine arguments as vLLM names them: `tensor_parallel_size`, `max_model_len`,
    `gpu_memory_utilization`, `enable_prefix_caching` (off unless it is set: who shares a cache can
    tell by the time what others asked)."""
    accelerator: Literal["gpu", "cpu"] = "gpu"
    """What it runs on. On CPUs, base model and adapters take turns: there vLLM answers requests of
    the base model with an adapter's weights if they share a batch."""
    accelerator_type: str | None = None
    """`H100`, `L4` and the like, as Ray names them; None: any."""
    max_loras: int = Field(default=4, ge=0, le=256)
    """Adapters that share a batch; 0 serves none. `generator.max_loaded_adapters` are kept ready
    beside them, in memory and on disk."""
    max_lora_rank: LoraRank = 16
    """Highest `lora.r` of the adapters; a larger one costs memory and time for all of them."""
    environment: dict[str, str | int] = Field(default_factory=dict)
    """Environment variables of its processes, such as `VLLM_LOGGING_LEVEL`."""

    @field_validator("engine")
    @classmethod
    def _said_once(cls, engine: dict[str, Any]) -> dict[str, Any]:
        for name in engine:
            if name in RESERVED:
                raise ValueError(f"vllm.engine: {name} is said by {RESERVED[name]}")
            if name in REFUSED:
                raise ValueError(f"vllm.engine: {name} cannot be set: {REFUSED[name]}")
        for name in ("tensor_parallel_size", "pipeline_parallel_size"):
            size = engine.get(name, 1)
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ValueError(f"vllm.engine: {name}={size!r} must be a whole number from 1")
        return engine

    @model_validator(mode="after")
    def _type_of_a_gpu(self) -> "VllmConfig":
        if self.accelerator == "cpu" and self.accelerator_type:
            raise ValueError(
                f"vllm.accelerator_type={self.accelerator_type!r}: is of GPUs; accelerator is cpu"
            )
        return self

    @property
    def workers(self) -> int:
        """Devices of one replica."""
        sizes = (self.engine.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline"))
        return math.prod(sizes)
