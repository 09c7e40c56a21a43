"""Time, machines and money of each arm: once, for an answer, for an update; and break-even. Pure.

An answer costs the CPUs (and GPUs) that its actor holds for as long as it takes, alone; batching
and idle machines are not in it. Prices are the configuration's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from train.compare.arms import Arm
from train.compare.config import CompareConfig, Prices
from train.compare.measured import Learned, Measured

HOUR_S = 3600.0


@dataclass(frozen=True)
class Spent:
    """Seconds of machines."""

    cpu_s: float = 0.0
    gpu_s: float = 0.0

    def money(self, prices: Prices) -> float:
        """By the price table."""
        return self.cpu_s / HOUR_S * prices.cpu_hour + self.gpu_s / HOUR_S * prices.gpu_hour


def arm_costs(
    arm: Arm,
    figures: Mapping[str, Any],
    measured: Measured,
    config: CompareConfig,
) -> dict[str, Any]:
    """Costs of one arm; `None` where nothing was measured.

    Args:
        arm: The arm.
        figures: Its figures.
        measured: What adapters, index and update took.
        config: Prices and what an actor holds.
    """
    prices, evaluate = config.prices, config.evaluate
    own = measured.learned.get(arm.adapter) if arm.adapter else None
    once = _training(own)
    indexing = measured.index.embed_seconds if arm.retrieves else 0.0
    once = Spent(once.cpu_s + indexing, once.gpu_s)
    updated = measured.updated
    seconds = figures["mean_seconds"]
    answer = Spent(seconds * evaluate.cpus_per_actor, seconds * evaluate.gpus_per_actor)
    tokens = (
        (figures["prompt_tokens"] or 0.0) * prices.million_prompt_tokens
        + (figures["completion_tokens"] or 0.0) * prices.million_completion_tokens
    ) / 1e6
    refresh = None
    if updated is not None and own is not None:
        took = updated.refreshes.get(str(arm.adapter))
        if took is not None:
            refresh = Spent(took["seconds"] * own.workers, took["seconds"] * own.gpus)
    return {
        "training_seconds": own.train_seconds if own else 0.0,
        "examples_seconds": own.examples_seconds if own else 0.0,
        "training_tokens": own.tokens if own else 0.0,
        "index_seconds": indexing,
        "once_cpu_s": once.cpu_s,
        "once_gpu_s": once.gpu_s,
        "once": once.money(prices),
        "thousand_answers": 1000 * (answer.money(prices) + tokens),
        "refresh": refresh.money(prices) if refresh else 0.0,
    }


def _training(own: Learned | None) -> Spent:
    if own is None:
        return Spent()
    seconds = own.examples_seconds + own.train_seconds
    return Spent(seconds * own.workers, own.train_seconds * own.gpus)


def month_cost(cost: Mapping[str, Any], volume: float, refreshes: float) -> float:
    """Money of the first month: training and index, answers, refreshes."""
    answers = cost["thousand_answers"] * volume / 1000
    return float(cost["once"] + answers + cost["refresh"] * refreshes)


def break_even(costs: Mapping[str, Mapping[str, Any]], arms: Sequence[str]) -> list[dict[str, Any]]:
    """Volumes above which the arm that costs more to make is the cheaper one."""
    found = []
    for cheap_to_make in arms:
        for cheap_to_run in arms:
            a, b = costs[cheap_to_make], costs[cheap_to_run]
            fixed = b["once"] - a["once"]
            saved = (a["thousand_answers"] - b["thousand_answers"]) / 1000
            if fixed > 0 and saved > 0:
                found.append(
                    {"from": cheap_to_make, "to": cheap_to_run, "answers": round(fixed / saved)}
                )
    return found
