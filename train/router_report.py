"""What a router is worth, on questions that it was not fitted on. Knows no Ray and no storage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayraft.learned_router import LEVELS
from rayraft.metrics import bootstrap_interval, paired_difference
from train.report import Figures
from train.router_config import RouterTrainConfig
from train.router_fit import (
    Ints,
    all_features,
    choices,
    fit,
    folds_of,
    forecasts_of,
)
from train.router_outcomes import Floats, Outcomes

BINS = 10
RESAMPLES = 2000
ADAPTIVE_RAG = (
    "Public figures for scale, Adaptive-RAG (arXiv 2403.14403, F1): single-step retrieval 44.3, "
    "adaptive 46.9, oracle 56.3, so 22% of the headroom."
)


@dataclass(frozen=True)
class CrossFitted:
    """What would have been chosen for each question by a router fitted on the other folds."""

    chosen: Mapping[str, Ints]
    """Level -> columns of the arms, [repeats, n]."""
    drafted: Floats
    """1 where the fold's router writes a draft, [repeats, n]."""
    expected: Floats
    """[repeats, n, arms]"""


def cross_fit(outcomes: Outcomes, config: RouterTrainConfig) -> CrossFitted:
    """Every fold forecast and chosen for by the router of the other folds; nothing of it tuned."""
    n, repeats = len(outcomes.question_ids), config.repeats
    chosen = {level: np.zeros((repeats, n), dtype=int) for level in LEVELS}
    drafted = np.zeros((repeats, n))
    expected = np.zeros((repeats, *outcomes.quality.shape))
    parts = [
        (repeat, part)
        for repeat in range(repeats)
        for part in folds_of(n, config.folds, config.seed + 1000 * repeat)
    ]
    for repeat, part in parts:
        fitted = fit(outcomes, np.setdiff1d(np.arange(n), part), config)
        features = [all_features(outcomes, int(i), fitted.draft) for i in part]
        forecasts = forecasts_of(features, fitted)
        expected[repeat, part] = forecasts
        means = np.array([arm.quality for arm in fitted.arms])
        costs = np.array([arm.cost for arm in fitted.arms])
        for level in LEVELS:
            chosen[level][repeat, part] = choices(forecasts, means, costs, fitted.levels[level])
        drafted[repeat, part] = fitted.draft
    return CrossFitted(chosen, drafted, expected)


def make_router_report(
    outcomes: Outcomes, crossed: CrossFitted, config: RouterTrainConfig
) -> Figures:
    """All figures; intervals are 95%, bootstrapped over questions."""
    quality, seed = outcomes.quality, config.seed
    fixed = int(np.argmax(quality.mean(axis=0)))
    oracle = _oracle(outcomes)
    modes = {
        label: _row(outcomes, np.full((1, len(quality)), a), np.zeros((1, len(quality))), seed)
        for a, label in enumerate(outcomes.arms)
    }
    levels = {}
    for level, chosen in crossed.chosen.items():
        row = _row(outcomes, chosen, crossed.drafted, seed)
        levels[level] = row | _against(outcomes, chosen, fixed, oracle, seed)
        best = modes[outcomes.arms[fixed]]
        levels[level]["token_share"] = row["tokens"] / best["tokens"]
        levels[level]["latency_share"] = row["latency_ms"] / best["latency_ms"]
    return {
        "n": len(quality),
        "quality": config.quality,
        "kb_version": outcomes.kb_version,
        "best_fixed": outcomes.arms[fixed],
        "modes": modes,
        "oracle": _row(outcomes, oracle[None], np.zeros((1, len(quality))), seed),
        "levels": levels,
        "draft_share": float(crossed.drafted.mean()),
        "calibration": calibration(
            crossed.expected.ravel(), np.broadcast_to(quality, crossed.expected.shape).ravel()
        ),
        "reference": ADAPTIVE_RAG,
    }


def calibration(expected: Floats, observed: Floats) -> Figures:
    """Bins of equal size by forecast, and ECE: their mean gap of forecast and outcome."""
    order = np.argsort(expected, kind="stable")
    bins = []
    for part in np.array_split(order, min(BINS, len(order))):
        bins.append(
            {
                "forecast": float(expected[part].mean()),
                "observed": float(observed[part].mean()),
                "n": len(part),
            }
        )
    gaps = [abs(b["forecast"] - b["observed"]) * b["n"] for b in bins]
    return {"ece": float(sum(gaps) / len(order)), "bins": bins}


def _oracle(outcomes: Outcomes) -> Ints:
    """The best arm of each question, of equal ones the cheapest."""
    ranked = outcomes.quality - 1e-9 * outcomes.tokens
    return np.asarray(ranked.argmax(axis=1))


def _row(outcomes: Outcomes, chosen: Ints, drafted: Floats, seed: int) -> Figures:
    """Figures of choices [repeats, n]; each question counts with its mean over the repeats."""
    line = np.arange(chosen.shape[1])
    quality = outcomes.quality[line, chosen].mean(axis=0)
    is_drafted = drafted > 0
    tokens = np.where(is_drafted, outcomes.spent(True)[line, chosen], outcomes.tokens[line, chosen])
    times = [outcomes.latency_ms(flag)[line, chosen] for flag in (False, True)]
    shares = {label: float((chosen == a).mean()) for a, label in enumerate(outcomes.arms)}
    return {
        "quality": float(quality.mean()),
        "ci95": bootstrap_interval(quality, seed=seed),
        "tokens": float(tokens.mean()),
        "latency_ms": float(np.where(is_drafted, times[1], times[0]).mean()),
        "chosen": {label: share for label, share in shares.items() if share},
    }


def _against(outcomes: Outcomes, chosen: Ints, fixed: int, oracle: Ints, seed: int) -> Figures:
    line = np.arange(chosen.shape[1])
    ours, best = outcomes.quality[line, chosen].mean(axis=0), outcomes.quality[:, fixed]
    top = outcomes.quality[line, oracle]
    difference = paired_difference(ours, best, seed=seed)
    assert difference is not None  # there are questions
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(line), size=(RESAMPLES, len(line)))
    gains = (ours - best)[draws].mean(axis=1)
    rooms = (top - best)[draws].mean(axis=1)
    room = float((top - best).mean())
    shares = gains[rooms > 0] / rooms[rooms > 0]
    interval = np.quantile(shares, [0.025, 0.975]).tolist() if len(shares) else None
    return {
        "difference": {"mean": difference.mean, "ci95": difference.ci95},
        "headroom_captured": float((ours - best).mean() / room) if room > 0 else None,
        "headroom_ci95": interval,
    }


def router_markdown(report: Mapping[str, Any]) -> str:
    """The report for people."""
    best = report["modes"][report["best_fixed"]]
    lines = [
        f"# Router over knowledge base version {report['kb_version']}",
        "",
        f"{report['n']} questions; every figure of the router is cross-fitted: of questions that "
        "it was not fitted on, the mean of repeated splits. Intervals are 95%, bootstrapped over "
        "questions. Tokens are all that the models read and wrote for an answer, a router's draft "
        "included. The best fixed mode is the best on these same questions.",
        "",
        f"| way to answer | {report['quality']} | tokens | of best fixed | ms | chosen |",
        "|---|---|---|---|---|---|",
    ]
    rows = [*report["modes"].items(), ("oracle", report["oracle"])]
    rows += [(f"auto, {level}", row) for level, row in report["levels"].items()]
    for name, row in rows:
        low, high = row["ci95"]
        share = row["tokens"] / best["tokens"]
        split = ", ".join(f"{label} {share:.0%}" for label, share in row["chosen"].items())
        bold = "**" if name == report["best_fixed"] else ""
        lines.append(
            f"| {bold}{name}{bold} | {row['quality']:.3f} ({low:.3f} to {high:.3f}) | "
            f"{row['tokens']:.0f} | {share:.0%} | {row['latency_ms']:.0f} | {split} |"
        )
    lines += ["", f"Against the best fixed mode, {report['best_fixed']}:", ""]
    lines += ["| level | difference | headroom captured |", "|---|---|---|"]
    for level, row in report["levels"].items():
        difference, (low, high) = row["difference"]["mean"], row["difference"]["ci95"]
        cell = f"{difference:+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append(f"| {level} | {cell} | {_captured(row)} |")
    return "\n".join([*lines, "", *_calibration_lines(report), "", report["reference"], ""])


def _captured(row: Mapping[str, Any]) -> str:
    if row["headroom_captured"] is None:
        return "there is none"
    low, high = row["headroom_ci95"]
    return f"{row['headroom_captured']:.0%} ({low:.0%} to {high:.0%})"


def _calibration_lines(report: Mapping[str, Any]) -> list[str]:
    curve = report["calibration"]
    cells = {
        name: " | ".join(f"{each[name]:.2f}" for each in curve["bins"])
        for name in ("forecast", "observed")
    }
    return [
        f"Calibration over all ways to answer, expected calibration error {curve['ece']:.3f}:",
        "",
        f"| forecast | {cells['forecast']} |",
        "|---" * (len(curve["bins"]) + 1) + "|",
        f"| observed | {cells['observed']} |",
    ]
