"""How much memory a training run's model states take, before anything is started.

Weights, gradients and optimizer states by the formulas of ZeRO (arXiv 1910.02054, section 5);
activations by the estimate for transformer layers of arXiv 2205.05198, without the attention
matrix, which fused kernels do not keep.
"""

from dataclasses import dataclass
from typing import Any

import torch

from rayraft.models.base import BaseModel, auto_class
from rayraft.models.base_config import read_config
from rayraft.models.base_files import base_folder
from train.config import TrainConfig
from train.modeling import prepare_model
from train.precision import expected

MOMENTS = 8
"""Bytes of AdamW's two moments, fp32, a trained parameter."""
NF4 = 4.127 / 8
"""Bytes of a quantized weight with its share of the scales (arXiv 2305.14314, section 3)."""
KEPT, KEPT_AT_CHECKPOINTS = 34, 2
"""Bytes that a layer keeps for the backward pass, a token and hidden unit, in 16 bits."""


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters of the model as it is trained, adapters included."""

    total: int
    trainable: int
    quantized: int = 0
    """Of the total: in 4 bits."""
    activations: int | None = None
    """Bytes of one micro batch; None where the model's configuration does not say its shape."""


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
    auto = auto_class(settings)
    with torch.device("meta"):
        model: Any = auto.from_config(settings)
        quantized = _in_linear_layers(model)
        base = BaseModel(model, None, bool(settings.is_encoder_decoder))  # type: ignore[arg-type]
        prepared = prepare_model(base, config)
    sizes = [(p.numel(), p.requires_grad) for p in prepared.parameters()]
    return ParameterCounts(
        sum(n for n, _ in sizes),
        sum(n for n, trained in sizes if trained),
        quantized if config.lora.quantize else 0,
        activation_bytes(settings, config),
    )


def activation_bytes(shape: Any, config: TrainConfig) -> int | None:
    """What the layers of a model keep of one micro batch for the backward pass.

    Args:
        shape: The model's configuration.
        config: Of the run.
    """
    width = getattr(shape, "hidden_size", None)
    layers = _named(shape, "num_hidden_layers")
    if shape.is_encoder_decoder:
        encoder = _named(shape, "encoder_layers", "num_layers")
        layers = encoder + _named(
            shape, "decoder_layers", "num_decoder_layers", "num_hidden_layers"
        )
    if not width or not layers:
        return None
    unit: int = config.micro_batch_tokens * width * (2 if config.precision == "fp32" else 1)
    if config.gradient_checkpointing:
        return unit * (KEPT_AT_CHECKPOINTS * layers + KEPT)  # and one layer that is computed anew
    return unit * KEPT * layers


def model_states(counts: ParameterCounts, config: TrainConfig) -> ModelStates:
    """What one worker holds between two steps."""
    workers = config.workers.least  # with more of them each holds less
    half = config.precision != "fp32"
    whole = counts.total - counts.quantized
    weights = whole * (2 if half else 4) + round(counts.quantized * NF4)
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


def memory_lines(told: TrainConfig) -> list[str]:
    """Counts and bytes for people."""
    config = expected(told)
    counts = count_parameters(config)
    states = model_states(counts, config)
    where = "GPU" if config.workers.gpus_per_worker else "worker"
    share = counts.trainable / counts.total
    lines = [
        f"parameters      {counts.total:,}, of them trained {counts.trainable:,} ({share:.2%})",
        f"model states    {states.device / 2**30:.2f} GiB a {where}",
    ]
    if counts.activations is None:
        lines.append("activations     not estimated: the configuration does not say the shape")
    else:
        total = states.device + counts.activations
        lines.append(
            f"activations     about {counts.activations / 2**30:.2f} GiB with "
            f"micro_batch_tokens={config.micro_batch_tokens}; {total / 2**30:.2f} GiB in all"
        )
    if states.host:
        lines.append(f"offloaded       {states.host / 2**30:.2f} GiB of host memory a worker")
    return lines


def _in_linear_layers(model: Any) -> int:
    """Weights that quantization takes: those of linear layers but the output head."""
    head = model.get_output_embeddings()
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    return sum(layer.weight.numel() for layer in linear)


def _named(shape: Any, *names: str) -> int:
    """The first of these settings that a configuration has; 0 without any."""
    found = (getattr(shape, name, None) for name in names)
    return next((int(value) for value in found if value), 0)
