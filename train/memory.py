"""How much memory a training run's model states take, before anything is started.

Weights, gradients and optimizer states by the formulas of ZeRO (arXiv 1910.02054, section 5).
Activations are not among them: they grow with `micro_batch_tokens` and depend on the model.
"""

from dataclasses import dataclass
from typing import Any

import torch

from rayraft.models.base import BaseModel, auto_class, base_folder, read_config
from train.config import TrainConfig
from train.modeling import prepare_model

MOMENTS = 8
"""Bytes of AdamW's two moments, fp32, a trained parameter."""


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters of the model as it is trained, adapters included."""

    total: int
    trainable: int


@dataclass(frozen=True)
class ModelStates:
    """Bytes of one worker."""

    device: int
    """On its GPU (without one, in its process)."""
    host: int
    """Offloaded to the memory of the host."""


def count_parameters(config: TrainConfig) -> ParameterCounts:
    """Counts without loading a weight.

    Raises:
        NotFoundError: There is no such base model.
        ConfigError: A setting does not fit the model.
    """
    settings = read_config(base_folder(config.base_model))
    with torch.device("meta"):
        model: Any = auto_class(settings).from_config(settings)
        base = BaseModel(model, None, bool(settings.is_encoder_decoder))  # type: ignore[arg-type]
        prepared = prepare_model(base, config)
    sizes = [(p.numel(), p.requires_grad) for p in prepared.parameters()]
    return ParameterCounts(sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained))


def model_states(counts: ParameterCounts, config: TrainConfig) -> ModelStates:
    """What one worker holds between two steps."""
    workers = config.workers.count
    half = config.precision != "fp32"
    weights = counts.total * (2 if half else 4)
    gradients = counts.trainable * 4  # summed in fp32 whatever the precision
    optimizer = counts.trainable * (MOMENTS + (4 if half else 0))  # and fp32 master weights
    if config.zero_stage >= 1:
        optimizer = -(-optimizer // workers)
    if config.zero_stage >= 2:
        gradients = -(-gradients // workers)
    if config.zero_stage == 3:
        weights = -(-weights // workers)
    host = (optimizer if config.offload else 0) + (
        weights if config.offload and config.zero_stage == 3 else 0
    )
    return ModelStates(weights + gradients + optimizer - host, host)


def memory_lines(config: TrainConfig) -> list[str]:
    """Counts and bytes for people."""
    counts = count_parameters(config)
    states = model_states(counts, config)
    where = "GPU" if config.workers.gpus_per_worker else "worker"
    share = counts.trainable / counts.total
    lines = [
        f"parameters      {counts.total:,}, of them trained {counts.trainable:,} ({share:.2%})",
        f"model states    {states.device / 2**30:.2f} GiB a {where}, activations not counted",
    ]
    if states.host:
        lines.append(f"offloaded       {states.host / 2**30:.2f} GiB of host memory a worker")
    return lines
