"""The training loop of one worker: DeepSpeed's engine over planned batches.

Works for full and LoRA fine-tuning of any causal or sequence-to-sequence model. Knows nothing about
Ray: what it has to report goes to a callback. A model's own `loss`, which is taken where a model
has an encoder, must be the mean over the labels that are not `IGNORED`.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from train import batching
from train.answer_loss import answer_loss, keeps_logits
from train.batching import IntArray, StepPlan, own_batches, plan_step, steps_per_epoch
from train.checkpoints import (
    TrainState,
    create_moments,
    load_optimizer,
    load_weights,
    read_state,
)
from train.config import TrainConfig, learning_rate
from train.early_stopping import Standing, standing
from train.engine import start_engine
from train.rows import EncodedRows
from train.run_files import Point

logger = logging.getLogger(__name__)

NOTICE_EVERY_S = 2.0
"""Seconds between two looks for a notice of preemption; each is a round trip of every worker."""


@dataclass(frozen=True)
class World:
    """This worker among the others."""

    world_rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Whether this worker writes and logs for all."""
        return self.world_rank == 0


@dataclass(frozen=True)
class Task:
    """What to train on what."""

    config: TrainConfig
    model: torch.nn.Module
    rows: EncodedRows
    validation: EncodedRows | None
    fingerprint: str
    resume_from: Path | None = None


@dataclass(frozen=True)
class Hooks:
    """What the loop hands out; all workers call each in the same order."""

    on_point: Callable[[Point], None]
    on_checkpoint: Callable[[Point, TrainState, Any], None]
    """(metrics, state, engine)"""
    on_best: Callable[[Any], None] = lambda engine: None
    """(engine) after the lowest validation loss so far, where training may stop early"""
    is_preempted: Callable[[], bool] = lambda: False
    """Whether a worker's node is about to be taken away, as was not known before"""


@dataclass
class _Meter:
    """Sums since the last point."""

    loss: torch.Tensor = field(default_factory=lambda: torch.zeros(()))
    steps: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.perf_counter)


def run(task: Task, world: World, hooks: Hooks) -> Any:
    """Trains to the last step and returns the engine."""
    config = task.config
    torch.set_num_threads(config.workers.threads)
    total = config.max_steps or config.epochs * steps_per_epoch(
        len(task.rows), config.global_batch_size
    )
    state = TrainState(step=0, total_steps=total, fingerprint=task.fingerprint, curve=[])
    if task.resume_from is not None:
        state = read_state(task.resume_from, task.fingerprint)
        load_weights(task.model, task.resume_from)
    engine = start_engine(task.model, config, world.size)
    create_moments(engine)
    if task.resume_from is not None:
        load_optimizer(engine, task.resume_from, state.step)
        logger.info("resumed at step %d of %d", state.step, state.total_steps)
    _Loop(task, world, hooks, engine, state).run()
    return engine


class _Loop:
    def __init__(
        self, task: Task, world: World, hooks: Hooks, engine: Any, state: TrainState
    ) -> None:
        self.task, self.world, self.hooks, self.engine = task, world, hooks, engine
        self.config = task.config
        self.step, self.total_steps = state.step, state.total_steps
        self.curve = list(state.curve)
        self.meter = _Meter()
        self._notice_every = 1
        self._keeps = task.rows.causal and keeps_logits(task.model)

    def run(self) -> None:
        if self.step >= self.total_steps:
            self._checkpoint()
        for plan in self._plans():
            self._train_step(plan)
            self.step += 1
            last = self.step == self.total_steps
            if last or self.step % self.config.log_every_steps == 0:
                self._log()
            if last or _due(self.step, self.config.eval_every_steps):
                self._validate()
                last = self._has_stalled() or last
            due = last or _due(self.step, self.config.checkpoint_every_steps)
            if due or (_due(self.step, self._notice_every) and self.hooks.is_preempted()):
                self._checkpoint()
            if last:
                break

    def _plans(self) -> Iterator[StepPlan]:
        lengths, config = self.task.rows.lengths, self.config
        per_epoch = steps_per_epoch(len(lengths), config.global_batch_size)
        epoch, batches = -1, []
        for step in range(self.step, self.total_steps):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                batches = batching.epoch_batches(
                    lengths, config.global_batch_size, config.seed, epoch
                )
            rows = batches[step % per_epoch]
            yield plan_step(lengths, rows, config.micro_batch_tokens, self.world.size)

    def _train_step(self, plan: StepPlan) -> None:
        self.engine.train()
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) * 4099 + self.world.world_rank)
        for rows, weight in own_batches(plan, self.task.rows.lengths, self.world.world_rank):
            loss = self._forward(self.task.rows, rows)
            # DeepSpeed averages gradients over the workers; this makes the sum over all micro
            # batches of all workers the mean over the step's answer tokens.
            self.engine.backward(loss * (weight * self.world.size))
            self.meter.loss = self.meter.loss + loss.detach() * weight
            self.meter.tokens += self.task.rows.tokens(rows) if weight else 0
        rate = learning_rate(self.step, self.total_steps, self.config)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        self.engine.step()
        self.meter.steps += 1

    def _forward(self, source: EncodedRows, rows: IntArray) -> torch.Tensor:
        device = self.engine.device
        batch = source.batch(rows).items()
        inputs = {name: torch.from_numpy(array).to(device) for name, array in batch}
        if self._keeps:
            return answer_loss(self.engine, inputs)
        loss: torch.Tensor = self.engine(**inputs).loss
        return loss.float()

    def _log(self) -> None:
        seconds = time.perf_counter() - self.meter.started
        own = [float(self.meter.loss), float(self.meter.tokens), seconds / self.world.size]
        loss, tokens, seconds = self._all_sum(torch.tensor(own, dtype=torch.float64))
        point = {
            "step": float(self.step),
            "total_steps": float(self.total_steps),
            "loss": loss / self.meter.steps,
            "learning_rate": learning_rate(self.step - 1, self.total_steps, self.config),
            "tokens_per_s": tokens / seconds,
            "step_s": seconds / self.meter.steps,
            "eta_s": seconds / self.meter.steps * (self.total_steps - self.step),
        }
        if not math.isfinite(point["loss"]):
            raise FloatingPointError(f"step {self.step}: the loss is {point['loss']}")
        self._add(point)
        # The same on all workers, as the look for a notice waits for all of them.
        self._notice_every = max(1, round(NOTICE_EVERY_S / point["step_s"]))
        self.meter = _Meter()

    @torch.no_grad()
    def _validate(self) -> None:
        rows = self.task.validation
        if rows is None:
            return
        began = time.perf_counter()
        self.engine.eval()
        budget = self.config.micro_batch_tokens
        plan = plan_step(rows.lengths, np.arange(len(rows)), budget, self.world.size)
        loss = torch.zeros((), dtype=torch.float64)
        for indices, weight in own_batches(plan, rows.lengths, self.world.world_rank):
            loss = loss + self._forward(rows, indices).double() * weight
        (total,) = self._all_sum(loss.reshape(1))
        self._add({"step": float(self.step), "validation_loss": total})
        # The steps since the last point keep their time: only this pause is not theirs.
        self.meter.started += time.perf_counter() - began

    def _has_stalled(self) -> bool:
        """Whether training ends here; hands out the weights if they are the best so far."""
        found, patience = self._standing(), self.config.early_stopping_patience
        if found is not None and found.since == 0:
            self.hooks.on_best(self.engine)
        if found is None or patience is None or found.since < patience:
            return False
        self.total_steps = self.step
        return True

    def _standing(self) -> Standing | None:
        if self.config.early_stopping_patience is None:
            return None
        return standing(self.curve, self.config.min_improvement)

    def _all_sum(self, sums: torch.Tensor) -> list[float]:
        sums = sums.to(self.engine.device)
        dist.all_reduce(sums)
        return sums.tolist()

    def _add(self, point: Point) -> None:
        self.curve.append(point)
        self.hooks.on_point(point)

    def _checkpoint(self) -> None:
        state = TrainState(self.step, self.total_steps, self.task.fingerprint, self.curve)
        metrics = {key: value for point in self.curve for key, value in point.items()}
        if (found := self._standing()) is not None:
            metrics |= {"best_step": float(found.step), "validation_loss": found.loss}
        self.hooks.on_checkpoint(metrics, state, self.engine)


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
