"""Whether a challenger replaces the champion: a rule over paired scores. Pure.

The challenger must be better, by the paired bootstrap over all questions of all sets, and it may
lose no more than a bound in any one set: of what changed, of what did not, and of the people's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayraft.metrics import paired_difference
from train.eval_rows import EvalRow
from train.refresh_config import GateConfig

RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    """Champion against challenger in one mode on one set of questions."""

    mode: str
    name: str
    """Of the set."""
    questions: int
    champion: float
    """Mean token F1."""
    challenger: float
    ci95: tuple[float, float]
    """Of the difference, challenger - champion."""

    @property
    def difference(self) -> float:
        """Challenger - champion."""
        return self.challenger - self.champion


@dataclass(frozen=True)
class Verdict:
    """What is to be done, and why."""

    promote: bool
    probability_better: float
    """That the challenger's mean token F1 over all questions is higher."""
    reasons: list[str]


def compare(
    champion: Sequence[EvalRow], challenger: Sequence[EvalRow], seed: int = 0
) -> list[Comparison]:
    """By mode and set (the rows' `kind`).

    Raises:
        ValueError: The two did not answer the same questions in the same modes.
    """
    ours, theirs = _scores(challenger), _scores(champion)
    if ours.keys() != theirs.keys():
        raise ValueError("champion and challenger did not answer the same questions")
    groups: dict[tuple[str, str], list[Any]] = {}
    for key in sorted(ours):
        groups.setdefault(key[:2], []).append(key)
    comparisons = []
    for (mode, name), keys in groups.items():
        pair = [ours[key] for key in keys], [theirs[key] for key in keys]
        difference = paired_difference(*pair, seed=seed)
        assert difference is not None  # a group has a question
        comparisons.append(
            Comparison(
                mode=mode,
                name=name,
                questions=len(keys),
                champion=float(np.mean(pair[1])),
                challenger=float(np.mean(pair[0])),
                ci95=difference.ci95,
            )
        )
    return comparisons


def decide(
    champion: Sequence[EvalRow],
    challenger: Sequence[EvalRow],
    gate: GateConfig,
    seed: int = 0,
) -> Verdict:
    """The rule of the module's docstring."""
    ours, theirs = _scores(challenger), _scores(champion)
    differences = np.array([ours[key] - theirs[key] for key in sorted(ours)])
    better = probability_above_zero(differences, seed)
    reasons = [
        f"{comparison.name} ({comparison.mode}): token F1 {comparison.difference:+.3f}, "
        f"more than {gate.max_loss:g} is lost"
        for comparison in compare(champion, challenger, seed)
        if comparison.difference < -gate.max_loss
    ]
    if better < gate.confidence:
        reasons.append(f"better with probability {better:.2f}, {gate.confidence:g} is asked for")
    if reasons:
        return Verdict(False, better, reasons)
    return Verdict(
        True, better, [f"better with probability {better:.2f}, and no set loses over the bound"]
    )


def probability_above_zero(values: "np.ndarray[Any, Any]", seed: int = 0) -> float:
    """Share of bootstrap resamples whose mean is above 0; a tie counts half."""
    if not len(values):
        return 0.5
    rng = np.random.default_rng(seed)
    above = 0.0
    for _ in range(RESAMPLES // 1000):
        means = values[rng.integers(0, len(values), size=(1000, len(values)))].mean(axis=1)
        above += float((means > 1e-12).sum() + 0.5 * (np.abs(means) <= 1e-12).sum())
    return above / RESAMPLES


def _scores(rows: Sequence[EvalRow]) -> Mapping[tuple[str, str, str], float]:
    return {(row.mode, row.kind, row.question_id): row.token_f1 or 0.0 for row in rows}
