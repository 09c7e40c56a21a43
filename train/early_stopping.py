"""When a training has learned what it will: a pure function of its loss curve."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """The lowest validation loss so far."""

    step: int
    loss: float
    since: int
    """Validations after it, none of which was lower."""


def standing(curve: Iterable[Mapping[str, float]], min_improvement: float = 0.0) -> Standing | None:
    """Where a curve stands; None before the first validation.

    Args:
        curve: Points in their order; those without `validation_loss` are passed over.
        min_improvement: A loss is lower if it is so by more than this.
    """
    best = Standing(0, math.inf, 0)
    for point in curve:
        loss = point.get("validation_loss")
        if loss is None:
            continue
        if loss < best.loss - min_improvement:
            best = Standing(int(point["step"]), loss, 0)
        else:
            best = Standing(best.step, best.loss, best.since + 1)
    return best if math.isfinite(best.loss) else None
