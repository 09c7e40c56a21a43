"""The guard against false negatives: a reranker says which distractors may answer after all.

A passage that the reranker puts above the golden one (by `margin`) is more likely the answer that
nobody marked than a distractor. Source: the denoised hard negatives of RocketQA, arXiv 2010.08191.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from data_pipelines.schema import embedded_text
from rayraft.records import Chunk, Passage

if TYPE_CHECKING:
    from data_pipelines.retrieval import TextReranker


class FalseNegativeGuard:
    """Compares distractors with the golden passage."""

    def __init__(self, scorer: "TextReranker", margin: float) -> None:
        self._scorer = scorer
        self._margin = margin

    def suspects(
        self, question: str, golden: Sequence[Chunk | Passage], distractors: Sequence[Passage]
    ) -> set[str]:
        """Chunk ids of the distractors that score at least the best golden passage's + margin."""
        if not distractors:
            return set()
        texts = [embedded_text(p.title, p.text) for p in (*golden, *distractors)]
        scores = self._scorer.score(question, texts).tolist()
        least = max(scores[: len(golden)]) + self._margin
        pairs = zip(distractors, scores[len(golden) :], strict=True)
        return {passage.chunk_id for passage, score in pairs if score >= least}
