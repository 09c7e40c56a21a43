"""Reciprocal rank fusion of several result lists.

Source: Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
Rank Learning Methods", SIGIR 2009.
"""

from collections.abc import Sequence

RRF_K = 60
"""The paper's constant: damps the weight of the first few places."""


def reciprocal_rank_fusion(
    result_lists: Sequence[Sequence[str]],
    weights: Sequence[float] | None = None,
    k: int = RRF_K,
) -> list[tuple[str, float]]:
    """Ids with their fused score, best first; equal scores are ordered by id.

    An id's score is the sum over the lists of weight / (k + place), with places from 1.

    Args:
        result_lists: Each a list of ids without repetition, best first.
        weights: One per list; None weighs all alike.
        k: The damping constant.
    """
    scores: dict[str, float] = {}
    for weight, ids in zip(weights or [1.0] * len(result_lists), result_lists, strict=True):
        for place, item in enumerate(ids, start=1):
            scores[item] = scores.get(item, 0.0) + weight / (k + place)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
