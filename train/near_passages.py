"""The passages nearest to a question by their words: what a search finds beside the golden one.

TF-IDF with logarithmic term counts (Salton and Buckley 1988), cosine. Lighter than the knowledge
base's search, and a training row needs no more of it than that the distractors look like answers.
"""

import functools
from collections.abc import Mapping

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer


class NearPassages:
    """Finds passages of one set."""

    def __init__(self, passages: Mapping[str, str]) -> None:
        self._ids = list(passages)
        self._vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
        self._matrix = self._vectorizer.fit_transform(passages.values())
        self.nearest = functools.cache(self._nearest)

    def _nearest(self, question: str, count: int) -> tuple[str, ...]:
        """Ids of at most `count` passages that share a word with the question, best first."""
        scores = (self._matrix @ self._vectorizer.transform([question]).T).toarray().ravel()
        best = np.argsort(-scores, kind="stable")[:count]
        return tuple(self._ids[i] for i in best if scores[i] > 0)
