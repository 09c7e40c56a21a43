"""Fusion of several result lists, by places or by scores.

Source: Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
Rank Learning Methods", SIGIR 2009.
"""

from collections.abc import Mapping, Sequence

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


def weighted_fusion(
    result_lists: Sequence[Mapping[str, float]],
    weights: Sequence[float],
    floors: Sequence[float],
) -> list[tuple[str, float]]:
    """Ids with the weighted mean of their scaled scores, best first; equal ones ordered by id.

    A list's scores are scaled so that its floor becomes 0 and its best 1; an id that a list does
    not have gets 0 for it.

    Source: Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval",
    arXiv 2210.11934: the convex combination with the theoretical minimum as floor.

    Args:
        result_lists: Each maps ids to scores.
        weights: One per list.
        floors: The least score that each list's search can give.
    """
    total = sum(weights) or 1.0
    scores: dict[str, float] = {}
    for weight, hits, floor in zip(weights, result_lists, floors, strict=True):
        width = max(hits.values(), default=floor) - floor
        for item, score in hits.items():
            scaled = (score - floor) / width if width > 0 else 0.0
            scores[item] = scores.get(item, 0.0) + weight / total * scaled
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
