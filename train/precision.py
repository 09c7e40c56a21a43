"""`precision=auto`, settled: what every worker of a run is quick at."""

import logging
from collections.abc import Sequence

import torch.distributed as dist

from rayraft.models.dtypes import quick_precision
from train.config import Precision, TrainConfig

logger = logging.getLogger(__name__)


def settled(config: TrainConfig, device: str) -> TrainConfig:
    """The configuration with a precision that all workers take alike. Collective under `auto`.

    Args:
        config: As it was told.
        device: This worker's: `cpu` or `cuda`.
    """
    if config.precision != "auto":
        return config
    seen: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(seen, quick_precision(device))
    precision = common_precision(seen, config.zero_stage)
    if dist.get_rank() == 0:
        logger.info("precision=auto is %s on these workers", precision)
    return config.model_copy(update={"precision": precision})


def expected(config: TrainConfig) -> TrainConfig:
    """The configuration as workers like this machine would settle it, for estimates."""
    if config.precision != "auto":
        return config
    quick = "bf16" if config.workers.gpus_per_worker else quick_precision("cpu")
    return config.model_copy(update={"precision": common_precision([quick], config.zero_stage)})


def common_precision(quick: Sequence[str], zero_stage: int) -> Precision:
    """What workers that are quick at these formats all do well."""
    if zero_stage == 0 or "fp32" in quick:
        return "fp32"
    return "fp16" if "fp16" in quick else "bf16"
