"""Maximal marginal relevance: an order in which no passage repeats those before it.

Source: Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents
and Producing Summaries", SIGIR 1998.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def diverse_order(
    relevance: FloatArray, vectors: FloatArray, k: int, diversity: float
) -> list[int]:
    """Indices of the k chosen, in the order of choosing.

    Each next one has the highest (1 - diversity) * relevance - diversity * likeness, its greatest
    cosine to those chosen before; of equal ones the first.

    Args:
        relevance: float32 [n], from 0 to 1.
        vectors: float32 [n, dim], L2-normalised.
        k: At most so many.
        diversity: 0 orders by relevance alone, 1 by difference alone.
    """
    left = np.ones(len(relevance), dtype=np.bool_)
    likeness = np.zeros(len(relevance), dtype=np.float32)  # to the likest of the chosen
    chosen: list[int] = []
    for _ in range(min(k, len(relevance))):
        values = (1 - diversity) * relevance - diversity * likeness
        best = int(np.argmax(np.where(left, values, -np.inf)))
        chosen.append(best)
        left[best] = False
        cosines = vectors @ vectors[best]
        likeness = cosines if len(chosen) == 1 else np.maximum(likeness, cosines)
    return chosen
