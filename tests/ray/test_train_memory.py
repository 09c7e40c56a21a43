"""Parameters counted without weights, and the memory of a run's model states."""

from pathlib import Path
from typing import Any

import pytest

from rayraft.errors import ConfigError
from rayraft.models.base import load_base
from tests.ray.tiny_models import save_seq2seq
from train.config import LoraSettings, TrainConfig
from train.memory import ParameterCounts, count_parameters, memory_lines, model_states
from train.modeling import prepare_model
from train.worker_settings import WorkerSettings


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        TrainConfig(lora=LoraSettings(r=4, dora=True)),
        TrainConfig(tuning="full", freeze=["shared", "decoder"]),
    ],
    ids=["lora", "dora", "full"],
)
def test_counts_are_those_of_the_loaded_model(config: TrainConfig) -> None:
    model = prepare_model(load_base(config.base_model, config.precision), config)
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    counts = count_parameters(config)
    assert counts.total == sum(size for size, _ in sizes)
    assert counts.trainable == sum(size for size, trained in sizes if trained)


def test_a_target_that_is_nowhere_is_refused() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        count_parameters(TrainConfig(lora=LoraSettings(target_modules=["nowhere"])))


def states(counts: ParameterCounts, **settings: object) -> tuple[float, float]:
    workers = WorkerSettings(count=4)
    config = TrainConfig.model_validate({"tuning": "full", "workers": workers, **settings})
    made = model_states(counts, config)
    return made.device / counts.trainable, made.host / counts.trainable


def test_bytes_a_trained_parameter_by_stage_as_in_the_paper() -> None:
    # ZeRO's K is 12 (fp32 weights and two moments); our gradients are summed in fp32.
    counts = ParameterCounts(1_000_000, 1_000_000)
    assert states(counts, zero_stage=0, precision="fp32") == (4 + 4 + 8, 0)
    assert states(counts, zero_stage=1) == (2 + 4 + 12 / 4, 0)
    assert states(counts, zero_stage=2) == (2 + (4 + 12) / 4, 0)
    assert states(counts, zero_stage=3) == ((2 + 4 + 12) / 4, 0)
    assert states(counts, zero_stage=2, offload=True) == (2 + 4 / 4, 12 / 4)
    assert states(counts, zero_stage=3, offload=True) == (4 / 4, (2 + 12) / 4)
    # With adapters the frozen weights dominate.
    lora = ParameterCounts(101_000_000, 1_000_000)
    assert states(lora, zero_stage=1) == (202 + 4 + 12 / 4, 0)


def test_a_quantized_base_takes_half_a_byte_a_weight() -> None:
    full = ParameterCounts(1_001_000, 1_000)
    quantized = ParameterCounts(1_001_000, 1_000, quantized=1_000_000)
    config = TrainConfig()
    saved = model_states(full, config).device - model_states(quantized, config).device
    assert saved == pytest.approx(1_000_000 * (2 - 4.127 / 8))


def test_checkpointing_keeps_less_and_activations_grow_with_the_batch(tmp_path: Path) -> None:
    base = save_seq2seq(tmp_path)

    def counts(**settings: Any) -> ParameterCounts:
        return count_parameters(TrainConfig(base_model=base, **settings))

    small, large = (counts(micro_batch_tokens=n) for n in (2048, 4096))
    saving = counts(gradient_checkpointing=True)
    assert small.activations is not None
    assert large.activations == 2 * small.activations
    assert saving.activations is not None
    assert saving.activations < large.activations / 3


def test_a_model_without_checkpointing_says_so() -> None:
    with pytest.raises(ConfigError, match="gradient_checkpointing=true: MiniFor"):
        count_parameters(TrainConfig(gradient_checkpointing=True))


def test_people_see_counts_and_gib() -> None:
    first, second, third = memory_lines(TrainConfig())
    assert first.startswith("parameters") and "of them trained" in first
    assert "GiB a worker" in second
    assert "in all" in third
    assert len(memory_lines(TrainConfig(offload=True))) == 4
