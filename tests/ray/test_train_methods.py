"""Kinds of adapters, early stopping and notices of preemption, in the loop without Ray."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file

from rayraft.errors import ConfigError
from rayraft.models.adapters import put_weights
from rayraft.models.base import load_base
from tests.ray.loop_harness import settings, train
from tests.ray.tiny_models import save_causal, save_seq2seq
from train.checkpoints import gather_weights
from train.early_stopping import standing
from train.loop import World
from train.modeling import export_model, load_to_train, prepare_model

KINDS = ("seq2seq", "causal")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "seq2seq": save_seq2seq(tmp_path_factory.mktemp("t5")),
        "causal": save_causal(tmp_path_factory.mktemp("llama")),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "variant",
    [["lora.rslora=true"], ["lora.dora=true"], ["zero_stage=3", "precision=bf16"]],
    ids=" ".join,
)
def test_an_exported_adapter_says_what_the_trained_model_says(
    alone: World, bases: dict[str, str], tmp_path: Path, kind: str, variant: list[str]
) -> None:
    config = settings(bases[kind], "tuning=lora", "lora.r=4", "learning_rate=0.02", *variant)
    outcome = train(config, alone)
    export_model(outcome.model, outcome.weights, config, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert any(t.abs().max() > 0 for name, t in saved.items() if "lora_B" in name)
    assert all(t.dtype == torch.float32 for t in saved.values())
    # A second model, as a service loads it: every weight fits, and it is the trained one.
    other = prepare_model(load_base(bases[kind], config.precision), config)
    put_weights(other, "default", saved, "test")  # type: ignore[arg-type]
    written = LoraConfig.from_pretrained(str(tmp_path))
    assert (written.use_rslora, written.use_dora) == (config.lora.rslora, config.lora.dora)
    again = dict(other.named_parameters())
    for name, tensor in outcome.weights.items():
        torch.testing.assert_close(again[name].float(), tensor, rtol=0.01, atol=1e-3, msg=name)


def test_a_base_in_4_bits_learns_like_a_whole_one_and_its_adapter_fits_both(
    alone: World, bases: dict[str, str], tmp_path: Path
) -> None:
    quantized = pytest.importorskip("bitsandbytes").nn.Linear4bit
    lora = ("tuning=lora", "lora.r=4", "learning_rate=0.02", "precision=bf16", "max_steps=20")
    config = settings(bases["causal"], *lora, "lora.quantize=nf4")
    outcome, whole = train(config, alone), train(settings(bases["causal"], *lora), alone)
    layers = [m for m in outcome.model.modules() if isinstance(m, quantized)]
    base = load_base(bases["causal"], "bf16").model
    linear = [m for m in base.modules() if isinstance(m, torch.nn.Linear)]
    assert len(layers) == len(linear) - 1  # all but the output head
    assert all(layer.weight.dtype == torch.uint8 for layer in layers)
    assert all("lora_" in name for name in outcome.weights)
    assert sum(outcome.losses[-5:]) < sum(outcome.losses[:5])
    # 4 bits move the weights of so small a model by some percent, and so its losses.
    assert sum(outcome.losses) == pytest.approx(sum(whole.losses), rel=0.05)
    export_model(outcome.model, outcome.weights, config, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    served = prepare_model(load_base(bases["causal"], "bf16"), settings(bases["causal"], *lora))
    put_weights(served, "default", saved, "test")  # type: ignore[arg-type]


def test_a_quantized_base_without_bitsandbytes_is_one_clear_error(
    bases: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    config = settings(bases["causal"], "tuning=lora", "precision=bf16", "lora.quantize=nf4")
    with pytest.raises(ConfigError, match=r"lora\.quantize='nf4': needs bitsandbytes; pip install"):
        load_to_train(config)


def test_training_stops_when_it_gets_no_better_and_hands_out_its_best_weights(
    alone: World, bases: dict[str, str], tmp_path: Path
) -> None:
    best: dict[str, torch.Tensor] = {}

    def keep(engine: Any) -> None:
        best.update({name: t.clone() for name, t in gather_weights(engine).items()})

    config = settings(
        bases["causal"],
        *("learning_rate=0.3", "max_steps=40", "eval_every_steps=1"),
        *("early_stopping_patience=3", "checkpoint_every_steps=1"),
    )
    outcome = train(config, alone, states=tmp_path, hooks={"on_best": keep})
    steps = len(outcome.validation)
    lowest = outcome.validation.index(min(outcome.validation)) + 1
    assert steps == lowest + 3 < 40
    at_lowest = load_file(tmp_path / str(lowest) / "state.safetensors")
    for name, tensor in best.items():
        assert torch.equal(tensor, at_lowest[f"weight.{name}"]), name
    state = json.loads((tmp_path / str(steps) / "state.json").read_text())
    assert state["step"] == state["total_steps"] == steps
    found = standing(state["curve"])
    assert found is not None
    assert found.step == lowest
    # What was stopped stays stopped.
    resumed = train(config, alone, resume=tmp_path / str(steps))
    assert resumed.losses == []


def test_a_notice_makes_a_checkpoint_at_once_and_training_goes_on(
    alone: World, bases: dict[str, str], tmp_path: Path
) -> None:
    asked: list[int] = []

    def noticed() -> bool:
        asked.append(1)
        return len(asked) == 3

    config = settings(bases["causal"], "log_every_steps=100")
    outcome = train(config, alone, states=tmp_path, hooks={"is_preempted": noticed})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "6"]
    resumed = train(config, alone, resume=tmp_path / "3")
    for name, tensor in resumed.weights.items():
        torch.testing.assert_close(tensor, outcome.weights[name], rtol=0, atol=1e-6)
