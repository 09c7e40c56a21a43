"""The figures made of an evaluation's rows, and the tables for people. Knows no Ray.

Every figure is a fraction 0 to 1 but latencies; one that is not defined is None.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rayraft.metrics import (
    abstention_interval,
    bootstrap_interval,
    paired_difference,
    score_abstention,
)
from train.eval_rows import EvalRow

Figures = dict[str, Any]

SCORES = ("exact_match", "token_f1")
RETRIEVAL = ("recall_at_k", "ndcg_at_10")
TITLES = {
    "exact_match": "exact match",
    "token_f1": "token F1",
    "recall_at_k": "recall@k",
    "ndcg_at_10": "nDCG@10",
    "abstention_f1": "abstention F1",
}
"""Metric -> the title of its column."""


def make_report(
    rows: Sequence[EvalRow], modes: Sequence[str], kb_version: int, seed: int = 0
) -> Figures:
    """The report of rows that hold every question once in every mode."""
    by_mode = {mode: _sorted(row for row in rows if row.mode == mode) for mode in modes}
    return {
        "kb_version": kb_version,
        "n": len(next(iter(by_mode.values()), [])),
        "modes": {mode: mode_figures(of_mode, seed) for mode, of_mode in by_mode.items()},
        "differences": _differences(by_mode, seed),
    }


def mode_figures(rows: Sequence[EvalRow], seed: int = 0) -> Figures:
    """All figures of one mode."""
    answered = [row for row in rows if row.exact_match is not None]
    abstained = [row.abstained for row in answered]
    unanswerable = [not row.answers for row in answered]
    abstention = score_abstention(abstained, unanswerable)
    values = {name: _defined(rows, name) for name in (*SCORES, *RETRIEVAL)}
    latencies = [row.latency_ms for row in rows]
    return {
        **{name: _mean(values[name]) for name in values},
        "abstention_f1": abstention.f1,
        "latency_ms": {"p50": _quantile(latencies, 0.5), "p95": _quantile(latencies, 0.95)},
        "ci95": {
            **{name: bootstrap_interval(values[name], seed=seed) for name in values},
            "abstention_f1": abstention_interval(abstained, unanswerable, seed=seed),
        },
        "abstention_precision": abstention.precision,
        "abstention_recall": abstention.recall,
        "answers_with_citation": _mean(
            [float(row.citations > 0) for row in answered if not row.abstained]
        ),
        "adapters": sorted({row.adapter for row in rows if row.adapter}),
        "answered_by": _counts([row.answered_by for row in rows]),
        "kinds": {
            kind: _kind_figures([row for row in rows if row.kind == kind])
            for kind in sorted({row.kind for row in rows})
        },
    }


def markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown tables."""
    modes: Mapping[str, Any] = report["modes"]
    ranked = any(figures["ndcg_at_10"] is not None for figures in modes.values())
    metrics = [name for name in TITLES if ranked or name != "ndcg_at_10"]
    lines = [
        f"# Evaluation of knowledge base version {report['kb_version']}",
        "",
        f"{report['n']} questions. Intervals are 95%, bootstrapped over questions.",
        *([report["method"]] if report.get("method") else []),
        "",
        f"| mode | adapter | {' | '.join(TITLES[name] for name in metrics)} | p50 ms | p95 ms |",
        "|---|---|---|---|" + "---|" * len(metrics),
    ]
    for mode, figures in modes.items():
        cells = [_with_interval(figures[name], figures["ci95"][name]) for name in metrics]
        times = [f"{figures['latency_ms'][p]:.0f}" for p in ("p50", "p95")]
        adapter = ", ".join(figures["adapters"]) or "-"
        lines.append(f"| {' | '.join([mode, adapter, *cells, *times])} |")
    lines += ["", *_kinds_table(modes)]
    if report.get("differences"):
        lines += ["", *_differences_table(report["differences"])]
    return "\n".join(lines) + "\n"


def _kinds_table(modes: Mapping[str, Any]) -> list[str]:
    kinds = {kind: f["n"] for figures in modes.values() for kind, f in figures["kinds"].items()}
    if set(kinds) <= {""}:
        return []
    lines = [
        "Token F1 by kind of question:",
        "",
        f"| kind | n | {' | '.join(modes)} |",
        "|---|---|" + "---|" * len(modes),
    ]
    for kind, n in sorted(kinds.items()):
        cells = [_fraction(figures["kinds"][kind]["token_f1"]) for figures in modes.values()]
        lines.append(f"| {kind or '(none)'} | {n} | {' | '.join(cells)} |")
    return lines


def _differences_table(differences: Mapping[str, Any]) -> list[str]:
    lines = ["Paired differences on the same questions:", "", "| modes | exact match | token F1 |"]
    lines.append("|---|---|---|")
    for name, scores in differences.items():
        cells = [
            f"{scores[s]['mean']:+.3f} ({scores[s]['ci95'][0]:+.3f} to {scores[s]['ci95'][1]:+.3f})"
            for s in SCORES
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _differences(by_mode: Mapping[str, Sequence[EvalRow]], seed: int) -> Figures:
    """Each mode minus plain retrieval: does fine-tuning, or the router, add anything to it?"""
    if "rag" not in by_mode:
        return {}
    result: Figures = {}
    for mode, rows in by_mode.items():
        if mode == "rag" or not any(_defined(rows, score) for score in SCORES):
            continue
        scores = {}
        for score in SCORES:
            difference = paired_difference(
                _defined(rows, score), _defined(by_mode["rag"], score), seed=seed
            )
            if difference is not None:
                scores[score] = {"mean": difference.mean, "ci95": difference.ci95}
        if scores:
            result[f"{mode} - rag"] = scores
    return result


def _kind_figures(rows: Sequence[EvalRow]) -> Figures:
    values = {name: _mean(_defined(rows, name)) for name in (*SCORES, *RETRIEVAL)}
    return {"n": len(rows), **values}


def _sorted(rows: Any) -> list[EvalRow]:
    return sorted(rows, key=lambda row: row.question_id)


def _defined(rows: Sequence[EvalRow], name: str) -> list[float]:
    return [float(v) for v in (getattr(row, name) for row in rows) if v is not None]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _quantile(values: Sequence[float], q: float) -> float | None:
    return round(float(np.quantile(values, q)), 3) if values else None


def _counts(values: Sequence[str]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted(set(values))}


def _fraction(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else "")
