"""How sure the model was of an answer, against how often such answers were right. Pure.

The model's confidence is the (geometric) mean probability of the tokens that it wrote; an answer
is right from token F1 0.5 on, and silence where there is no answer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rayraft.metrics import bootstrap_interval
from train.compare.measures import RIGHT
from train.compare.rows import ArmRow

BINS = 5
LEAST = 8
"""Fewer answers make no bin."""


def confidence_figures(rows: Sequence[ArmRow], seed: int = 0) -> dict[str, Any] | None:
    """Bins of about as many answers each, from the least sure to the surest.

    `gap` is the mean distance between confidence and share right over the bins (expected
    calibration error); `ranking` the chance that a right answer was surer than a wrong one (the
    area under the ROC curve), None where all are right or all wrong.

    Returns:
        None where no answer tells its confidence.
    """
    told = [row for row in rows if row.confidence is not None]
    if not told:
        return None
    sure = np.array([row.confidence for row in told], dtype=np.float64)
    right = np.array([(row.token_f1 or 0.0) >= RIGHT for row in told], dtype=np.float64)
    order = np.argsort(sure, kind="stable")
    parts = np.array_split(order, max(1, min(BINS, len(told) // LEAST)))
    bins = [
        {
            "n": len(part),
            "confidence": float(sure[part].mean()),
            "right": float(right[part].mean()),
            "ci95": bootstrap_interval(right[part], seed=seed),
        }
        for part in parts
    ]
    gap = sum(len(p) * abs(sure[p].mean() - right[p].mean()) for p in parts) / len(told)
    return {"n": len(told), "bins": bins, "gap": float(gap), "ranking": ranking(sure, right)}


def ranking(scores: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float | None:
    """The chance that a right one has the higher score than a wrong one; ties count half."""
    good, bad = scores[right > 0], scores[right == 0]
    if not good.size or not bad.size:
        return None
    above = (good[:, None] > bad).mean() + 0.5 * (good[:, None] == bad).mean()
    return float(above)
