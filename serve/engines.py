"""What every engine can do, and which one the configuration asks for."""

import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from rayraft.errors import ConfigError
from rayraft.models.base_files import base_digest
from rayraft.protocols import GeneratedPiece, GenerateRequest
from serve.adapters import AdapterLoader
from serve.config import GeneratorConfig
from serve.engine import TextEngine
from serve.language_model import LanguageModel, load_model
from serve.scaling import HEALTH_CHECK_PERIOD_S

API_KEY = "RAYRAFT_GENERATOR_API_KEY"


class Engine(Protocol):
    """Writes outputs. A caller that stops waiting, or a time limit that passes, ends the work."""

    restart_helps: bool
    """Whether a replica whose engine fails should be replaced."""

    async def generate(self, request: GenerateRequest) -> GeneratedPiece:
        """The whole output."""
        ...

    def stream(self, request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        """The output piece by piece, the token counts last."""
        ...

    async def check(self) -> None:
        """Raises or hangs if it does not work."""
        ...

    def close(self) -> None:
        """Ends its threads."""


def open_engine(
    config: GeneratorConfig,
    store: str,
    load: Callable[[GeneratorConfig], LanguageModel] = load_model,
    vllm: Any = None,
) -> tuple[Engine, str]:
    """The configured engine, and the digest of its base model (what adapters must fit).

    Args:
        config: Says which.
        store: Where adapters are.
        load: Loads a model into this process.
        vllm: Handle of vLLM's deployment, for engine `vllm`.

    Raises:
        ConfigError: Engine `vllm` without its deployment, or with a model that it does not run.
    """
    if config.engine == "openai":
        from serve.openai_engine import OpenAIEngine

        remote = OpenAIEngine(config.openai, os.environ.get(API_KEY, ""))
        return remote, config.openai.base_digest or f"openai:{config.openai.served_model}"
    if config.engine == "vllm":
        return _vllm_engine(config, vllm), base_digest(config.base_model)
    model = load(config)
    engine = TextEngine(
        model,
        AdapterLoader(store),
        max_batch_size=config.max_batch_size,
        max_batches=config.max_batches,
        max_loaded_adapters=config.max_loaded_adapters,
        trusted_s=HEALTH_CHECK_PERIOD_S,
        rows=config.row_limits,
        max_waiting=config.max_waiting,
    )
    return engine, model.base_digest


def _vllm_engine(config: GeneratorConfig, vllm: Any) -> Engine:
    from serve.vllm_engine import VllmEngine

    if vllm is None:
        raise ConfigError(
            "generator.engine='vllm' runs in the service alone: rayraft serve, and ask --url"
        )
    return VllmEngine(config.base_model, vllm)
