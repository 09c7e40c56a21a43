"""The training loop in this process, and the same training in plain PyTorch."""

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from rayraft.config import load
from rayraft.models.base import load_base
from tests.ray.tiny_models import copying_rows
from train.checkpoints import TrainState, gather_weights, save_state
from train.config import TrainConfig
from train.features import encode_rows
from train.loop import Hooks, Task, World, run
from train.modeling import load_to_train, prepare_model
from train.rows import EncodedRows
from train.run_files import Point

STEPS = 6


def settings(base: str, *overrides: str) -> TrainConfig:
    return load(
        TrainConfig,
        None,
        [
            f"base_model={base}",
            "tuning=full",
            "precision=fp32",
            f"max_steps={STEPS}",
            "global_batch_size=8",
            "micro_batch_tokens=256",
            "max_prompt_tokens=32",
            "max_completion_tokens=8",
            "learning_rate=0.003",
            "log_every_steps=1",
            "workers.count=1",
            *overrides,
        ],
    )


@dataclasses.dataclass
class Outcome:
    """What a run left."""

    losses: list[float]
    validation: list[float]
    weights: dict[str, torch.Tensor]
    model: torch.nn.Module


def encoded(config: TrainConfig, seed: int = 0) -> EncodedRows:
    table = pa.Table.from_pylist([dict(row) for row in copying_rows(40, seed)])
    causal = not load_base(config.base_model, "fp32").is_encoder_decoder
    features = encode_rows(table, config=config.model_dump())
    return EncodedRows([features], 0, causal, config.packing)


def train(
    config: TrainConfig,
    world: World,
    states: Path | None = None,
    resume: Path | None = None,
    hooks: dict[str, Any] | None = None,
) -> Outcome:
    points: list[Point] = []

    def keep(metrics: Point, state: TrainState, engine: Any) -> None:
        if states is not None:
            folder = states / str(state.step)
            folder.mkdir(parents=True)
            save_state(engine, state, folder, writes=True)

    model = prepare_model(load_to_train(config), config)
    task = Task(config, model, encoded(config), encoded(config, seed=1), "print", resume)
    engine = run(task, world, Hooks(points.append, keep, **(hooks or {})))
    return Outcome(
        losses=[point["loss"] for point in points if "loss" in point],
        validation=[point["validation_loss"] for point in points if "validation_loss" in point],
        weights={name: t.clone() for name, t in gather_weights(engine).items()},
        model=model,
    )


def assert_same_weights(left: Outcome, right: Outcome, tolerance: float = 1e-5) -> None:
    assert left.weights.keys() == right.weights.keys()
    for name, tensor in left.weights.items():
        torch.testing.assert_close(tensor, right.weights[name], rtol=0, atol=tolerance, msg=name)


def plain_losses(config: TrainConfig) -> list[float]:
    """The same training written down without DeepSpeed, one row at a time."""
    from train.batching import epoch_batches, steps_per_epoch
    from train.config import learning_rate

    rows = encoded(config)
    model = load_base(config.base_model, "fp32").model.train()
    optimizer = torch.optim.AdamW(model.parameters(), betas=config.adam_betas, weight_decay=0)
    losses = []
    for step in range(STEPS):
        epoch, position = divmod(step, steps_per_epoch(len(rows), config.global_batch_size))
        batch = epoch_batches(rows.lengths, config.global_batch_size, config.seed, epoch)[position]
        total = torch.zeros(())
        for row in batch:
            inputs = {k: torch.from_numpy(v) for k, v in rows.batch(row.reshape(1)).items()}
            logits = model(**inputs).logits
            labels = inputs["labels"]
            if rows.causal:
                logits, labels = logits[:, :-1], labels[:, 1:]
            total = total + torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), reduction="sum"
            )
        loss = total / int(rows.lengths.supervised[batch].sum())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, STEPS, config)
        optimizer.step()
        losses.append(loss.item())
    return losses
