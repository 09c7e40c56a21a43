"""Training state that does not depend on the number of workers.

DeepSpeed's own checkpoints are frozen to the world size and are loaded by unpickling; these are one
safetensors file of whole tensors (fp32 master weights and both moments of what is trained) and one
JSON file.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rayraft.errors import ArtifactMismatch
from train.engine import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from train.run_files import STATE

TENSORS = "state.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class TrainState:
    """Where a run stands; `fingerprint` is the digest of what makes its steps what they are."""

    step: int
    total_steps: int
    fingerprint: str
    curve: list[dict[str, float]]


def trainable(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The trained parameters by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def gather_weights(engine: Any) -> dict[str, torch.Tensor]:
    """Whole fp32 weights of what is trained. Collective: every worker must call it."""
    return {name: _full(p, engine=engine) for name, p in trainable(engine.module).items()}


def save_state(engine: Any, state: TrainState, folder: Path, writes: bool) -> None:
    """The state as two files. Collective; only the worker with `writes` writes."""
    tensors = {}
    for name, parameter in trainable(engine.module).items():
        tensors[f"weight.{name}"] = _full(parameter, engine=engine)
        for key in MOMENTS:
            tensors[f"{key}.{name}"] = _full(parameter, key, engine=engine)
        if not writes:
            tensors.clear()
    if writes:
        save_file({name: t.contiguous() for name, t in tensors.items()}, folder / TENSORS)
        (folder / STATE).write_text(json.dumps(asdict(state)), encoding="utf-8")


def resumed_step(folder: Path | None) -> int:
    """The step after which a run goes on; 0 without a checkpoint."""
    if folder is None:
        return 0
    return int(json.loads((folder / STATE).read_text(encoding="utf-8"))["step"])


def read_state(folder: Path, fingerprint: str) -> TrainState:
    """What `save_state` wrote of the run's position.

    Raises:
        ArtifactMismatch: The state is of other rows, another model or another configuration.
    """
    state = TrainState(**json.loads((folder / STATE).read_text(encoding="utf-8")))
    if state.fingerprint != fingerprint:
        raise ArtifactMismatch(
            f"checkpoint {folder.name}: made by another run (data, model or configuration differ); "
            "remove the run's folder to begin anew"
        )
    return state


def load_weights(module: torch.nn.Module, folder: Path) -> None:
    """Puts the saved weights into the bare model, before DeepSpeed takes it over."""
    with safe_open(folder / TENSORS, framework="pt") as tensors, torch.no_grad():
        for name, parameter in trainable(module).items():
            parameter.copy_(tensors.get_tensor(f"weight.{name}"))


def load_optimizer(engine: Any, folder: Path, step: int) -> None:
    """Puts master weights and moments into a fresh engine. Collective."""
    with safe_open(folder / TENSORS, framework="pt") as tensors:
        for name, parameter in trainable(engine.module).items():
            _set(parameter, tensors.get_tensor(f"weight.{name}"), engine=engine)
            for key in MOMENTS:
                _set(parameter, tensors.get_tensor(f"{key}.{name}"), key, engine=engine)
    for values in engine.basic_optimizer.state.values():
        values["step"].fill_(step)


def create_moments(engine: Any) -> None:
    """Gives a fresh engine's optimizer its state, all zero.

    Optimizers make it in their first step; DeepSpeed links what it finds after the step of the
    first parameter group, and could not gather the moments of the others.
    """
    optimizer = engine.basic_optimizer
    flat = getattr(engine.optimizer, "fp32_partitioned_groups_flat", None)  # ZeRO-3's
    for tensor in flat or [p for group in optimizer.param_groups for p in group["params"]]:
        optimizer.state[tensor] = {"step": torch.zeros((), device=tensor.device)} | {
            key: torch.zeros_like(tensor) for key in MOMENTS
        }
    link = getattr(engine.optimizer, "_lazy_init_hp_params_optimizer_state", None)
    if link is not None:
        link()


def _full(parameter: torch.nn.Parameter, key: str | None = None, *, engine: Any) -> torch.Tensor:
    """The whole fp32 weight or moment of a parameter, on the CPU. Collective."""
    if engine.zero_optimization_stage() == 0:
        source = parameter if key is None else engine.basic_optimizer.state[parameter][key]
        return source.detach().cpu().clone()
    if key is None:
        value = safe_get_full_fp32_param(parameter)
    else:
        value = safe_get_full_optimizer_state(parameter, key)
    return value.detach().cpu()  # type: ignore[no-any-return]


def _set(
    parameter: torch.nn.Parameter, value: torch.Tensor, key: str | None = None, *, engine: Any
) -> None:
    stage = engine.zero_optimization_stage()
    if stage == 0:
        target = parameter if key is None else engine.basic_optimizer.state[parameter][key]
        target.data.copy_(value)
    elif stage == 3:
        part = _partition(parameter, value)
        if key is None:
            safe_set_local_fp32_param(parameter, part)
        else:
            safe_set_local_optimizer_state(parameter, part, key)
    elif key is None:
        safe_set_full_fp32_param(parameter, value)
    else:
        safe_set_full_optimizer_state(parameter, value, key)


def _partition(parameter: Any, value: torch.Tensor) -> torch.Tensor:
    """This worker's part of a whole tensor; ZeRO-3 pads the last one with zeros."""
    size = parameter.ds_tensor.ds_numel
    start = size * torch.distributed.get_rank()
    part = torch.zeros(size, dtype=value.dtype)
    mine = value.flatten()[start : start + size]
    part[: mine.numel()] = mine
    return part
