"""The DeepSpeed dictionary as a pure function of the training configuration."""

from typing import Any

from train.config import TrainConfig


def deepspeed_config(config: TrainConfig, world_size: int) -> dict[str, Any]:
    """What `deepspeed.initialize` is given.

    Batch sizes are the loop's: it weighs every micro batch by its answer tokens and calls
    `step()` itself (`managed_gradient_accumulation` off), so DeepSpeed divides by nothing but
    the number of workers. The optimizer is the loop's too.
    """
    assert config.precision != "auto", "settled by the workers before (train/precision.py)"
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "train_batch_size": world_size,
        "managed_gradient_accumulation": False,
        "gradient_clipping": config.gradient_clip,
        "zero_optimization": _zero(config),
        "zero_allow_untested_optimizer": True,
        # torch's fused AdamW is a client optimizer; with offload DeepSpeed would insist on its
        # own, which is compiled at the first use.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31,
        "wall_clock_breakdown": False,
    }
    if config.precision == "bf16":
        settings["bf16"] = {"enabled": True}
        settings["data_types"] = {"grad_accum_dtype": "fp32"}
    elif config.precision == "fp16":
        settings["fp16"] = {"enabled": True, "initial_scale_power": 12}
    return settings


def _zero(config: TrainConfig) -> dict[str, Any]:
    zero: dict[str, Any] = {
        "stage": config.zero_stage,
        # Overlap needs streams; without them it only copies once more.
        "overlap_comm": False,
        "contiguous_gradients": config.zero_stage >= 2,
    }
    if config.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
        if config.zero_stage == 3:
            zero["offload_param"] = {"device": "cpu"}
    return zero
