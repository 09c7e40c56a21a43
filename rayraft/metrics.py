"""Measures of answers and of retrieval, with bootstrap intervals.

Knows only strings, ids and arrays: what was asked of which model is the caller's business.
Fractions are 0 to 1; a measure that is not defined for the given rows is None, never 0.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MAX_DRAWS = 4_000_000
"""Random numbers held at a time by a bootstrap: 32 MB."""


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, articles and surplus white space.

    Source: `normalize_answer` of the SQuAD evaluation script.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if the normalised prediction equals any normalised answer, else 0.0."""
    normalised = normalise_answer(prediction)
    return float(any(normalised == normalise_answer(answer) for answer in answers))


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """The best F1 of the prediction's token bag against any answer's.

    Source: `compute_f1` of the SQuAD 2.0 evaluation script: where either side has no tokens after
    normalisation the score is 1 if both have none, else 0.
    """
    return max((_bag_f1(prediction, answer) for answer in answers), default=0.0)


def _bag_f1(prediction: str, answer: str) -> float:
    predicted, expected = normalise_answer(prediction).split(), normalise_answer(answer).split()
    if not predicted or not expected:
        return float(predicted == expected)
    common = (Counter(predicted) & Counter(expected)).total()
    return 2 * common / (len(predicted) + len(expected))


@dataclass(frozen=True)
class AnswerScore:
    """What one answer is worth."""

    exact_match: float
    token_f1: float


def score_answer(prediction: str, abstained: bool, answers: Sequence[str]) -> AnswerScore:
    """Exact match and token F1 of one answer.

    A question without answers is answered rightly by abstaining and by nothing else; abstaining on
    one with answers is worth nothing.
    """
    if not answers or abstained:
        right = float(abstained and not answers)
        return AnswerScore(right, right)
    return AnswerScore(exact_match(prediction, answers), token_f1(prediction, answers))


def recall_at_k(
    retrieved_ids: Sequence[str], gold_ids: Sequence[str], k: int | None = None
) -> float | None:
    """Share of the gold documents among the first `k` (all if None); None without gold."""
    gold = set(gold_ids)
    if not gold:
        return None
    return len(gold & set(retrieved_ids[:k])) / len(gold)


def ndcg_at_k(retrieved_ids: Sequence[str], gold_ids: Sequence[str], k: int) -> float | None:
    """Normalised discounted cumulative gain of the first `k` documents; None without gold.

    A document is relevant (gain 1) if it is gold; one that comes twice counts where it comes first.
    Source: Järvelin and Kekäläinen 2002, with the discount log2(rank + 1).
    """
    gold = set(gold_ids)
    if not gold:
        return None
    ranked = list(dict.fromkeys(retrieved_ids))[:k]
    gain = sum(1 / np.log2(rank + 1) for rank, i in enumerate(ranked, start=1) if i in gold)
    ideal = sum(1 / np.log2(rank + 1) for rank in range(1, min(len(gold), k) + 1))
    return float(gain / ideal)


@dataclass(frozen=True)
class AbstentionScore:
    """How well abstaining and being unanswerable agree; the positive class is unanswerable."""

    precision: float | None
    """None if nothing was abstained from."""
    recall: float | None
    """None if nothing is unanswerable."""
    f1: float | None
    """None if nothing is unanswerable: then there is nothing to find."""


def score_abstention(abstained: Sequence[bool], unanswerable: Sequence[bool]) -> AbstentionScore:
    """Precision, recall and F1 of abstaining, over questions in the same order."""
    said, is_so = np.asarray(abstained, dtype=bool), np.asarray(unanswerable, dtype=bool)
    right, n_said, n_is_so = int((said & is_so).sum()), int(said.sum()), int(is_so.sum())
    return AbstentionScore(
        precision=right / n_said if n_said else None,
        recall=right / n_is_so if n_is_so else None,
        f1=2 * right / (n_said + n_is_so) if n_is_so else None,
    )


def abstention_interval(
    abstained: Sequence[bool], unanswerable: Sequence[bool], *, seed: int = 0, resamples: int = 2000
) -> Interval | None:
    """Bootstrap 95% interval of the abstention F1; None where the F1 is not defined."""
    said, is_so = np.asarray(abstained, dtype=bool), np.asarray(unanswerable, dtype=bool)
    if not is_so.any():
        return None
    # F1 = 2 TP / (said + is_so) is a ratio of two sums over questions, so one bootstrap serves all.
    shares = 2.0 * (said & is_so), said.astype(np.float64) + is_so
    return _interval_of_ratio(*shares, seed=seed, resamples=resamples)


def bootstrap_interval(
    values: Sequence[float] | Floats, *, seed: int = 0, resamples: int = 2000
) -> Interval | None:
    """Percentile bootstrap 95% interval of the mean; None without values."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return None
    return _interval_of_ratio(array, np.ones_like(array), seed=seed, resamples=resamples)


@dataclass(frozen=True)
class Difference:
    """Mean of a paired difference and its 95% interval."""

    mean: float
    ci95: Interval


def paired_difference(
    ours: Sequence[float] | Floats,
    theirs: Sequence[float] | Floats,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Difference | None:
    """Mean of `ours - theirs` on the same questions, bootstrapped by question; None without any.

    Raises:
        ValueError: The two have different lengths.
    """
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"theirs: {b.size} values, must be as many as ours ({a.size})")
    interval = bootstrap_interval(a - b, seed=seed, resamples=resamples)
    return None if interval is None else Difference(float((a - b).mean()), interval)


def _interval_of_ratio(
    numerators: Floats, denominators: Floats, *, seed: int, resamples: int
) -> Interval:
    rng, n = np.random.default_rng(seed), numerators.size
    at_a_time = max(1, _MAX_DRAWS // n)
    ratios = []
    for start in range(0, resamples, at_a_time):
        draws = rng.integers(0, n, size=(min(at_a_time, resamples - start), n))
        sums = denominators[draws].sum(axis=1)
        # A resample without a positive has no F1; 0 keeps the interval honest (wide), not NaN.
        ratios.append(
            np.divide(numerators[draws].sum(axis=1), sums, out=np.zeros(len(draws)), where=sums > 0)
        )
    low, high = np.quantile(np.concatenate(ratios), [0.025, 0.975])
    return float(low), float(high)
