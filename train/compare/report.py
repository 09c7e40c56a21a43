"""Everything measured as one JSON-able report. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from rayraft.metrics import bootstrap_interval
from rayraft.records import digest
from train.compare.arms import Arm
from train.compare.confidence import confidence_figures
from train.compare.config import CompareConfig
from train.compare.costs import arm_costs, break_even
from train.compare.figures import (
    answers_are_long,
    arm_figures,
    calibration,
    defined,
    differences,
    groups_figures,
    mean,
)
from train.compare.measured import (
    AFTER_DELTA,
    AFTER_REFRESH,
    AT_ONCE,
    BEFORE,
    PHASES,
    Learned,
    Measured,
    Updated,
)
from train.compare.needs import Needs
from train.compare.recommend import recommend
from train.compare.rows import ArmRow

RIGHT_AGAIN = 0.05
"""An arm is right again where its share of exactly right answers (of long ones: token F1) on the
changed facts is at most so much below what it was before the update."""
CHANGES = ("changed", "appeared", "disappeared")


def make_report(measured: Measured, config: CompareConfig, needs: Needs) -> dict[str, Any]:
    """All figures, the costs and the advice."""
    seed = config.evaluate.seed
    figures = {}
    for arm in measured.arms:
        rows = measured.rows[arm.name]
        seconds = mean([row.timings_ms.get("total", 0.0) / 1000 for row in rows])
        figures[arm.name] = {
            "title": arm.title,
            "mode": arm.mode,
            "adapter": _adapter(arm, measured.learned),
            "retrieves": arm.retrieves,
            **arm_figures(rows, seed),
            "mean_seconds": seconds,
            "calibration": calibration(rows),
            "confidence": confidence_figures(rows, seed),
        }
    costs = {arm.name: arm_costs(arm, figures[arm.name], measured, config) for arm in measured.arms}
    first = next(iter(measured.rows.values()))
    ages = measured.ages
    report: dict[str, Any] = {
        "kb_version": measured.kb_version,
        "n": len(first),
        "long_answers": answers_are_long(first),
        "needs": needs.model_dump(),
        "arms": figures,
        "retrieval": _retrieval(measured.searched, seed),
        "differences": differences(measured.rows, seed),
        "costs": costs,
        "break_even": break_even(costs, [arm.name for arm in measured.arms]),
        "update": _update(measured, seed) if measured.updated else None,
        "robustness": measured.robustness,
        "security": measured.security,
        "load": measured.load,
        "index": asdict(measured.index),
        "judge": measured.judged,
        "ages": {
            "by": ages.by,
            "groups": ages.groups,
            "arms": {
                name: groups_figures(rows, ages.group_of, ages.groups, seed)
                for name, rows in measured.rows.items()
            },
        },
        "samples": _samples(measured.rows, config.samples),
        "machine": dict(measured.machine),
        "seconds": measured.seconds,
        "config": config.model_dump(mode="json"),
    }
    report["advice"] = asdict(recommend(report, needs))
    return report


def _adapter(arm: Arm, learned: Mapping[Any, Learned]) -> dict[str, Any] | None:
    own = learned.get(arm.adapter) if arm.adapter else None
    if own is None:
        return None
    return {
        "id": own.adapter.ref.artifact_id,
        "digest": digest(own.adapter.manifest.files)[:16],
        "trained_here": own.trained,
        "examples": own.examples,
        "restricted_chunks_left_out": own.restricted_chunks,
    }


def _retrieval(rows: Sequence[ArmRow], seed: int) -> dict[str, Any]:
    names = ("recall_at_k", "ndcg_at_10", "reciprocal_rank")
    found: dict[str, Any] = {name: mean(defined(rows, name)) for name in names}
    found["ci95"] = {name: bootstrap_interval(defined(rows, name), seed=seed) for name in names}
    found["n"] = len(defined(rows, "recall_at_k"))
    return found


def _update(measured: Measured, seed: int) -> dict[str, Any]:
    updated = measured.updated
    assert updated is not None
    arms = [arm.name for arm in measured.arms]
    phases = [phase for phase in PHASES if phase in updated.rows]
    quality = {
        phase: {
            arm: _affected([r for r in updated.rows[phase] if r.arm == arm], measured.changes, seed)
            for arm in arms
        }
        for phase in phases
    }
    measure = "token_f1" if answers_are_long(updated.rows[BEFORE]) else "exact_match"
    return {
        "ingest_seconds": updated.ingest_seconds,
        "delta_seconds": updated.delta_seconds,
        "refreshes": updated.refreshes,
        "n": len(measured.changes),
        "taught": measured.taught,
        "quality": quality,
        "right_again_s": {
            arm.name: _right_again(arm, quality, updated, measure) for arm in measured.arms
        },
    }


def _affected(rows: Sequence[ArmRow], changes: Mapping[str, str], seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for change in CHANGES:
        own = [row for row in rows if changes[row.question.id] == change]
        if own:
            scores = defined(own, "token_f1")
            found[change] = {
                "n": len(own),
                "token_f1": mean(scores),
                "exact_match": mean(defined(own, "exact_match")),
                "ci95": bootstrap_interval(scores, seed=seed),
            }
    return found


def _right_again(
    arm: Arm, quality: Mapping[str, Any], updated: Updated, measure: str
) -> float | None:
    """Seconds from the change of a document until changed facts are as right as before it."""
    want = _changed_score(quality[BEFORE][arm.name], measure)
    if want is None:
        return None
    applied = updated.ingest_seconds + updated.delta_seconds
    steps = [(AT_ONCE, 0.0), (AFTER_DELTA, applied)]
    own = updated.refreshes.get(str(arm.adapter), {})
    steps.append((AFTER_REFRESH, applied + float(own.get("seconds", 0.0))))
    for phase, seconds in steps:
        if phase not in quality:
            continue
        scored = _changed_score(quality[phase][arm.name], measure)
        if scored is not None and scored >= max(want - RIGHT_AGAIN, 1e-9):
            return round(seconds, 2)
    return None


def _changed_score(figures: Mapping[str, Any], measure: str) -> float | None:
    value = figures.get("changed", {}).get(measure)
    return None if value is None else float(value)


def _samples(rows: Mapping[str, Sequence[ArmRow]], count: int) -> list[dict[str, Any]]:
    """Questions with every arm's answer, spread over the kinds; the same ones every time."""
    first = next(iter(rows.values()))
    by_arm = {arm: {row.question.id: row for row in own} for arm, own in rows.items()}
    order = sorted(first, key=lambda row: digest(["sample", row.question.id]))
    kinds: dict[str, list[ArmRow]] = {}
    for row in order:
        kinds.setdefault(row.question.kind, []).append(row)
    longest = max((len(pile) for pile in kinds.values()), default=0)
    mixed = [kinds[k][i] for i in range(longest) for k in sorted(kinds) if i < len(kinds[k])]
    return [
        {
            "id": row.question.id,
            "question": row.question.question,
            "kind": row.question.kind,
            "answers": row.question.answers,
            "gold_ids": row.question.gold_ids,
            "given": {arm: _given(own[row.question.id]) for arm, own in by_arm.items()},
        }
        for row in mixed[:count]
    ]


def _given(row: ArmRow) -> dict[str, Any]:
    return {
        "text": row.prediction,
        "abstained": row.abstained,
        "token_f1": row.token_f1,
        "supported": row.supported,
        "quotes": row.quotes,
        "documents": row.documents,
    }


def machine() -> dict[str, Any]:
    """What the comparison ran on."""
    import os
    import platform

    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            named = [
                line.split(":", 1)[1].strip() for line in info if line.startswith("model name")
            ]
        name = named[0] if named else name
    except OSError:
        pass
    return {"cpu": name, "cpus": os.cpu_count(), "python": platform.python_version()}


def rounded(value: float | None, digits: int = 2) -> str:
    """A figure for a table; `-` where it was not measured."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"
