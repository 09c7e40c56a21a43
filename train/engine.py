"""DeepSpeed's engine over what is trainable of a model. The one module that imports DeepSpeed."""

import contextlib
import io
import logging
import os
from typing import Any

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read on import, which warns without it

import deepspeed
import deepspeed.ops
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)

from train.config import TrainConfig
from train.deepspeed_config import deepspeed_config

__all__ = [
    "safe_get_full_fp32_param",
    "safe_get_full_optimizer_state",
    "safe_set_full_fp32_param",
    "safe_set_full_optimizer_state",
    "safe_set_local_fp32_param",
    "safe_set_local_optimizer_state",
    "start_engine",
]

logger = logging.getLogger(__name__)


def start_engine(model: torch.nn.Module, config: TrainConfig, world_size: int) -> Any:
    """DeepSpeed's engine with torch's AdamW, before its first step. Collective."""
    # The shared memory op is compiled at its first use, by all workers at once, and serves
    # inference alone.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.adam_betas,
        fused=True,
    )
    printed = io.StringIO()  # it prints memory figures whatever its log level is
    with contextlib.redirect_stdout(printed):
        engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=optimizer,
            config=deepspeed_config(config, world_size),
            dist_init_required=False,
        )
    logger.debug("DeepSpeed says: %s", printed.getvalue())
    return engine
