"""The loop in this process: DeepSpeed over a group of one worker, tiny models, no Ray."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import train.loop as train_loop
from rayraft.errors import ArtifactMismatch, ConfigError
from rayraft.models.base import load_base
from tests.ray.loop_harness import (
    STEPS,
    assert_same_weights,
    encoded,
    plain_losses,
    settings,
    train,
)
from tests.ray.tiny_models import save_causal, save_seq2seq
from train.checkpoints import read_state
from train.loop import Hooks, Task, World, run
from train.modeling import prepare_model, set_dropout
from train.rows import EncodedRows
from train.run_files import Point

PARTED = 5e-4


def assert_same_path(losses: list[float], others: list[float]) -> None:
    """The same losses, but for what chance does to them.

    Adam divides a gradient by its own size, so that one of about zero gives a whole step, whose
    sign is rounding: from the fifth step on two ways of summing part by 5e-5 of the loss on a CPU
    with AVX2. What is computed wrongly parts at the second step.
    """
    assert losses[:4] == pytest.approx(others[:4], abs=2e-5)
    assert losses == pytest.approx(others, abs=PARTED)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "seq2seq": save_seq2seq(tmp_path_factory.mktemp("t5")),
        "causal": save_causal(tmp_path_factory.mktemp("llama")),
    }


@pytest.mark.parametrize("kind", ["seq2seq", "causal"])
def test_loop_computes_what_plain_torch_computes(
    alone: World, bases: dict[str, str], kind: str
) -> None:
    config = settings(bases[kind])
    assert_same_path(train(config, alone).losses, plain_losses(config))


@pytest.mark.parametrize("kind", ["seq2seq", "causal"])
def test_micro_batches_do_not_change_the_gradient(
    alone: World, bases: dict[str, str], kind: str
) -> None:
    whole = train(settings(bases[kind], "micro_batch_tokens=4096"), alone)
    parts = train(settings(bases[kind], "micro_batch_tokens=40"), alone)
    assert_same_path(parts.losses, whole.losses)
    assert parts.validation == pytest.approx(whole.validation, abs=PARTED)


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_zero_stages_train_the_same(alone: World, bases: dict[str, str], stage: int) -> None:
    first = train(settings(bases["seq2seq"]), alone)
    other = train(settings(bases["seq2seq"], f"zero_stage={stage}"), alone)
    assert_same_path(other.losses, first.losses)


@pytest.mark.parametrize(
    "overrides",
    [
        ["zero_stage=1", "precision=fp32"],
        ["zero_stage=0", "precision=fp32"],
        ["zero_stage=1", "precision=bf16"],
        ["zero_stage=2", "precision=bf16"],
        ["zero_stage=3", "precision=bf16"],
        ["zero_stage=1", "precision=bf16", "tuning=lora", "lora.r=4"],
        ["zero_stage=3", "precision=bf16", "tuning=lora", "lora.r=4"],
    ],
    ids=" ".join,
)
def test_resumed_run_ends_where_the_undisturbed_one_does(
    alone: World, bases: dict[str, str], tmp_path: Path, overrides: list[str]
) -> None:
    config = settings(bases["seq2seq"], "checkpoint_every_steps=2", *overrides)
    undisturbed = train(config, alone, states=tmp_path)
    resumed = train(config, alone, resume=tmp_path / "2")
    assert resumed.losses == pytest.approx(undisturbed.losses[2:], abs=1e-6)
    assert_same_weights(resumed, undisturbed, tolerance=1e-6)


def test_state_is_safetensors_of_whole_tensors(
    alone: World, bases: dict[str, str], tmp_path: Path
) -> None:
    outcome = train(settings(bases["seq2seq"], "zero_stage=2"), alone, states=tmp_path)
    tensors = load_file(tmp_path / str(STEPS) / "state.safetensors")
    assert len(tensors) == 3 * len(outcome.weights)
    for name, weight in outcome.weights.items():
        assert torch.equal(tensors[f"weight.{name}"], weight)
        assert tensors[f"exp_avg.{name}"].shape == weight.shape
        assert tensors[f"exp_avg_sq.{name}"].abs().max() > 0


def test_state_of_another_run_is_refused(
    alone: World, bases: dict[str, str], tmp_path: Path
) -> None:
    train(settings(bases["seq2seq"], "max_steps=1"), alone, states=tmp_path)
    with pytest.raises(ArtifactMismatch, match="made by another run"):
        read_state(tmp_path / "1", "another print")


def test_frozen_parameters_stay_and_others_move(alone: World, bases: dict[str, str]) -> None:
    config = settings(bases["seq2seq"], "freeze=[shared., encoder.block.0]")
    outcome = train(config, alone)
    before = dict(load_base(bases["seq2seq"], "fp32").model.named_parameters())
    for name, parameter in outcome.model.named_parameters():
        frozen = name.startswith(("shared.", "encoder.block.0"))
        assert torch.equal(parameter, before[name]) == frozen, name


def test_freezing_nothing_by_mistake_is_an_error(bases: dict[str, str]) -> None:
    config = settings(bases["seq2seq"], "freeze=[embeddings.]")
    with pytest.raises(ConfigError, match=r"freeze='embeddings\.'"):
        prepare_model(load_base(config.base_model, "fp32"), config)


def test_dropout_is_that_of_the_configuration(bases: dict[str, str]) -> None:
    for wanted in (0.0, 0.3):
        config = settings(bases["seq2seq"], f"dropout={wanted}")
        model = prepare_model(load_base(config.base_model, "fp32"), config)
        found = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
        assert found == {wanted}


def test_dropout_of_a_model_without_any_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"dropout=0\.1"):
        set_dropout(torch.nn.Linear(2, 2), 0.1)


@pytest.mark.parametrize("kind", ["seq2seq", "causal"])
def test_lora_trains_adapters_alone(alone: World, bases: dict[str, str], kind: str) -> None:
    outcome = train(settings(bases[kind], "tuning=lora", "learning_rate=0.01"), alone)
    assert outcome.weights
    assert all("lora_" in name for name in outcome.weights)
    assert any(t.abs().max() > 0 for name, t in outcome.weights.items() if "lora_B" in name)
    before = dict(load_base(bases[kind], "fp32").model.named_parameters())
    for name, parameter in outcome.model.named_parameters():
        if "lora_" not in name:
            plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
            assert torch.equal(parameter, before[plain]), name


def test_a_packed_training_is_the_padded_one(alone: World, bases: dict[str, str]) -> None:
    packed, padded = (
        train(settings(bases["causal"], f"packing={p}", "micro_batch_tokens=96"), alone)
        for p in ("true", "no")
    )
    assert packed.losses == pytest.approx(padded.losses, abs=1e-4)
    assert packed.validation == pytest.approx(padded.validation, abs=1e-4)
    assert_same_weights(packed, padded)


def test_unknown_lora_target_is_an_error(bases: dict[str, str]) -> None:
    config = settings(bases["seq2seq"], "tuning=lora", "lora.target_modules=[nowhere]")
    with pytest.raises(ConfigError, match=r"lora\.target_modules"):
        prepare_model(load_base(config.base_model, "fp32"), config)


def test_pinned_loss_curve_of_two_steps(alone: World, bases: dict[str, str]) -> None:
    """Values of this test's first run; a refactoring must not move them."""
    losses = train(settings(bases["causal"], "max_steps=2"), alone).losses
    assert losses == pytest.approx(
        plain_losses(settings(bases["causal"], "max_steps=2"))[:2], abs=2e-5
    )


def test_a_validation_takes_nothing_from_the_speed_of_the_steps(
    alone: World, bases: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    forward = train_loop._Loop._forward

    def slow(loop: Any, source: EncodedRows, rows: Any) -> torch.Tensor:
        clock[0] += 10.0 if source is loop.task.validation else 1.0
        return forward(loop, source, rows)

    monkeypatch.setattr(train_loop._Loop, "_forward", slow)
    monkeypatch.setattr(train_loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    # The meter's first reading is bound to the real clock.
    meter = train_loop._Meter
    monkeypatch.setattr(train_loop, "_Meter", lambda: meter(started=clock[0]))
    config = settings(bases["seq2seq"], "log_every_steps=3", "eval_every_steps=2")
    model = prepare_model(load_base(config.base_model, config.precision), config)
    points: list[Point] = []
    task = Task(config, model, encoded(config), encoded(config, seed=1), "print")
    run(task, alone, Hooks(points.append, lambda *_: None))
    # All 8 rows of a step fit into one forward pass, which takes one second.
    assert [point["step_s"] for point in points if "loss" in point] == [1.0, 1.0]
