import json
from typing import Any

import pytest

from rayraft.config import load
from train.config import TrainConfig
from train.deepspeed_config import deepspeed_config


def made(*overrides: str, world_size: int = 2) -> dict[str, Any]:
    return deepspeed_config(load(TrainConfig, None, ["precision=bf16", *overrides]), world_size)


@pytest.mark.parametrize("world_size", [1, 2, 7])
def test_batch_sizes_satisfy_deepspeeds_equation(world_size: int) -> None:
    settings = made(world_size=world_size)
    assert settings["train_batch_size"] == (
        settings["train_micro_batch_size_per_gpu"]
        * settings["gradient_accumulation_steps"]
        * world_size
    )


def test_deepspeed_never_divides_by_accumulation_steps() -> None:
    settings = made()
    assert settings["gradient_accumulation_steps"] == 1
    assert settings["managed_gradient_accumulation"] is False


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_stage_is_passed_on(stage: int) -> None:
    assert made(f"zero_stage={stage}")["zero_optimization"]["stage"] == stage


def test_bf16_sums_gradients_in_fp32() -> None:
    settings = made("precision=bf16")
    assert settings["bf16"] == {"enabled": True}
    assert settings["data_types"] == {"grad_accum_dtype": "fp32"}
    assert "fp16" not in settings


def test_fp32_turns_no_low_precision_on() -> None:
    settings = made("precision=fp32")
    assert not {"bf16", "fp16", "data_types"} & settings.keys()


def test_weights_are_offloaded_at_stage_3_only() -> None:
    assert "offload_param" in made("zero_stage=3", "offload=true")["zero_optimization"]
    at_2 = made("zero_stage=2", "offload=true")["zero_optimization"]
    assert "offload_optimizer" in at_2
    assert "offload_param" not in at_2


def test_clipping_is_deepspeeds() -> None:
    assert made("gradient_clip=0.3")["gradient_clipping"] == 0.3


def test_it_is_json() -> None:
    settings = made("zero_stage=3", "offload=true")
    assert json.loads(json.dumps(settings)) == settings
