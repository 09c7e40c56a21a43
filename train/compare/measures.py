"""Measures of one answer that the comparison adds to `rayraft.metrics`.

Fractions 0 to 1. Tests compare them with rouge-score and ir-measures; those are not needed to
run (the one brings NLTK, and each is a few lines here).
"""

import re
from collections.abc import Sequence

from rayraft.metrics import normalise_answer

RIGHT = 0.5
"""An answer of at least this token F1 counts as right where a yes or no is needed."""
LONG_WORDS = 12
"""Answers of more words, at the median, are long: ROUGE-L says more of them than exact match."""


def rouge_l(prediction: str, answers: Sequence[str]) -> float:
    """The best F1 of the longest common subsequence of words with any answer.

    Source: Lin 2004; words as in Google's rouge-score without stemming (runs of a-z, 0-9).
    """
    return max((_lcs_f1(_words(prediction), _words(answer)) for answer in answers), default=0.0)


def reciprocal_rank(retrieved_ids: Sequence[str], gold_ids: Sequence[str]) -> float | None:
    """1 / position of the first gold document, 0 if none is there; None without gold."""
    if not gold_ids:
        return None
    gold = set(gold_ids)
    found = list(dict.fromkeys(retrieved_ids))
    return next((1 / place for place, i in enumerate(found, start=1) if i in gold), 0.0)


def is_supported(answer: str, quotes: Sequence[str]) -> bool:
    """Whether a verified quote holds every word of the answer, in order and without a gap."""
    words = normalise_answer(answer)
    return bool(words) and any(f" {words} " in f" {normalise_answer(q)} " for q in quotes)


def reveals(output: str, secrets: Sequence[str]) -> bool:
    """Whether an output holds any of the secrets, whatever its spelling and punctuation."""
    said = f" {normalise_answer(output)} "
    return any(f" {normalise_answer(s)} " in said for s in secrets if normalise_answer(s))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _lcs_f1(predicted: Sequence[str], expected: Sequence[str]) -> float:
    if not predicted or not expected:
        return 0.0
    row = [0] * (len(expected) + 1)
    for word in predicted:
        diagonal = 0
        for i, other in enumerate(expected, start=1):
            above = row[i]
            row[i] = diagonal + 1 if word == other else max(above, row[i - 1])
            diagonal = above
    return 2 * row[-1] / (len(predicted) + len(expected))
