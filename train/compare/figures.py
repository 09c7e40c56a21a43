"""The figures of each arm and the differences between arms, from their rows. Pure.

Fractions 0 to 1 but latencies (milliseconds), memory (MB) and tokens; undefined ones are None.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rayraft.metrics import (
    abstention_interval,
    bootstrap_interval,
    paired_difference,
    score_abstention,
)
from train.compare.measures import LONG_WORDS
from train.compare.rows import ArmRow

Figures = dict[str, Any]
STAGES = ("wait", "route", "retrieve", "generate", "total")
"""wait: for a worker that is free, under load alone."""
QUANTILES = (0.5, 0.95, 0.99)
MEANS: dict[str, Callable[[ArmRow], float | bool | None]] = {
    "exact_match": lambda row: row.exact_match,
    "token_f1": lambda row: row.token_f1,
    "rouge_l": lambda row: row.rouge_l,
    "support": lambda row: row.supported,
    "hallucination": lambda row: row.hallucinated if row.exact_match is not None else None,
    "recall_at_k": lambda row: row.recall_at_k,
    "ndcg_at_10": lambda row: row.ndcg_at_10,
    "reciprocal_rank": lambda row: row.reciprocal_rank,
}
"""Measure -> its value of one answer."""


def arm_figures(rows: Sequence[ArmRow], seed: int = 0) -> Figures:
    """All figures of one arm's answers."""
    values = {name: defined(rows, name) for name in MEANS}
    abstained = [row.abstained for row in rows]
    unanswerable = [not row.question.answers for row in rows]
    abstention = score_abstention(abstained, unanswerable)
    return {
        "n": len(rows),
        **{name: mean(values[name]) for name in values},
        "abstention": {
            "precision": abstention.precision,
            "recall": abstention.recall,
            "f1": abstention.f1,
        },
        "abstained": mean([float(value) for value in abstained]),
        "ci95": {
            **{name: bootstrap_interval(values[name], seed=seed) for name in values},
            "abstention_f1": abstention_interval(abstained, unanswerable, seed=seed),
        },
        "kinds": kinds_figures(rows, seed),
        "answered_by": dict(sorted(Counter(row.answered_by for row in rows).items())),
        "latency_ms": latencies(rows),
        "prompt_tokens": mean([float(row.prompt_tokens) for row in rows]),
        "completion_tokens": mean([float(row.completion_tokens) for row in rows]),
        "cpu_s": mean([row.cpu_s for row in rows]),
        "memory_mb": max((row.memory_mb for row in rows), default=None),
    }


def kinds_figures(rows: Sequence[ArmRow], seed: int = 0) -> Figures:
    """Figures by kind of question."""
    kinds = sorted({row.question.kind for row in rows})
    return groups_figures(rows, {row.question.id: row.question.kind for row in rows}, kinds, seed)


def groups_figures(
    rows: Sequence[ArmRow], group_of: Mapping[str, str], groups: Sequence[str], seed: int = 0
) -> Figures:
    """Figures by group of questions, in the order of the groups; empty ones are left out.

    Args:
        rows: Of one arm.
        group_of: Question id -> group; others are in none.
        groups: Their names.
        seed: Of the bootstrap.
    """
    found: Figures = {}
    for group in groups:
        own = [row for row in rows if group_of.get(row.question.id) == group]
        if own:
            found[group] = {
                "n": len(own),
                **{name: mean(defined(own, name)) for name in MEANS},
                "ci95": bootstrap_interval(defined(own, "token_f1"), seed=seed),
            }
    return found


def latencies(rows: Sequence[ArmRow]) -> Figures:
    """Quantiles of each stage's milliseconds."""
    found: Figures = {}
    for stage in STAGES:
        times = [row.timings_ms[stage] for row in rows if stage in row.timings_ms]
        if times and (stage in ("generate", "total") or max(times) > 0):
            found[stage] = {
                f"p{round(100 * q)}": round(float(np.quantile(times, q)), 1) for q in QUANTILES
            }
    return found


def differences(by_arm: Mapping[str, Sequence[ArmRow]], seed: int = 0) -> list[Figures]:
    """Token F1 of each arm minus each later one's on the same questions, with the paired bootstrap.

    Intervals are of each pair alone: of many pairs, one in twenty leaves 0 out by chance.
    """
    found = []
    names = list(by_arm)
    for i, ours in enumerate(names):
        for theirs in names[i + 1 :]:
            a, b = paired(by_arm[ours]), paired(by_arm[theirs])
            ids = sorted(a.keys() & b.keys())
            difference = paired_difference([a[i] for i in ids], [b[i] for i in ids], seed=seed)
            if difference is not None:
                ci = difference.ci95
                found.append(
                    {"arm": ours, "than": theirs, "mean": difference.mean, "ci95": list(ci)}
                )
    return found


def paired(rows: Sequence[ArmRow]) -> dict[str, float]:
    """Question id -> token F1."""
    return {row.question.id: row.token_f1 for row in rows if row.token_f1 is not None}


def answers_are_long(rows: Sequence[ArmRow]) -> bool:
    """Whether ROUGE-L says more than exact match, by the median length of the right answers."""
    words = [len(row.question.answers[0].split()) for row in rows if row.question.answers]
    return bool(words) and float(np.median(words)) > LONG_WORDS


def calibration(rows: Sequence[ArmRow]) -> list[Figures]:
    """Whether what an arm says of its own answer can be trusted: token F1 by what it said.

    An answer is quoted (a verified quote holds it), not quoted, or none (the arm abstained).
    """
    groups: dict[str, list[ArmRow]] = {"quoted": [], "not quoted": [], "abstained": []}
    for row in rows:
        name = "abstained" if row.abstained else "quoted" if row.supported else "not quoted"
        groups[name].append(row)
    return [
        {
            "said": name,
            "share": len(found) / len(rows),
            "right": mean(defined(found, "token_f1")),
            "ci95": bootstrap_interval(defined(found, "token_f1")),
        }
        for name, found in groups.items()
        if found
    ]


def defined(rows: Sequence[ArmRow], name: str) -> list[float]:
    """The values of a measure where it is defined."""
    measure = MEANS[name]
    return [float(value) for value in map(measure, rows) if value is not None]


def mean(values: Sequence[float]) -> float | None:
    """The mean; None without values."""
    return float(np.mean(values)) if values else None
