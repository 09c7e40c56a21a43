"""Both searches for one query in one version of the knowledge base."""

from dataclasses import dataclass

import numpy as np

from data_pipelines.disk_index import DiskView
from data_pipelines.kb import KnowledgeBase
from data_pipelines.memory_index import IndexView
from data_pipelines.ranking import Candidates, Method
from data_pipelines.row_index import Allowed
from data_pipelines.vectors import FloatArray
from rayraft.records import Passage


@dataclass(frozen=True)
class SearchView:
    """What a search sees; nothing in it changes any more."""

    kb: KnowledgeBase
    index: IndexView | DiskView
    allowed: Allowed

    def candidates(
        self, query: str, vector: FloatArray | None, depth: int, method: Method
    ) -> Candidates:
        """The first `depth` hits of each search, or of the one that `method` names.

        Args:
            query: Plain words.
            vector: float32 [dim] of the query; without it there is no dense search.
            depth: Hits of each search.
            method: `hybrid` for both.
        """
        dense = self._dense(vector, depth) if method != "sparse" and vector is not None else {}
        sparse = self._sparse(query, depth) if method != "dense" else {}
        slots = list({**dense, **sparse})
        rows = self.index.rows.passages(slots)
        passages = {slot: Passage(**row) for slot, row in zip(slots, rows, strict=True)}

        def by_id(hits: dict[int, float]) -> dict[str, float]:
            pairs = [(passages[slot].chunk_id, score) for slot, score in hits.items()]
            return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

        by_chunk = {passage.chunk_id: passage for passage in passages.values()}
        return Candidates(by_id(dense), by_id(sparse), by_chunk)

    def vectors(self, candidates: Candidates) -> dict[str, FloatArray]:
        """The stored vectors of the candidates."""
        rows = self.index.rows
        slots = rows.slots_with("chunk_id", candidates.passages.keys())
        ids = [row["chunk_id"] for row in rows.passages(slots)]
        taken = self.index.vectors.take(np.array(slots, dtype=np.int64))
        return dict(zip(ids, taken, strict=True))

    def _dense(self, vector: FloatArray, depth: int) -> dict[int, float]:
        slots, scores = self.index.nearest(vector, depth, self.allowed)
        return dict(zip(slots.tolist(), scores.tolist(), strict=True))

    def _sparse(self, query: str, depth: int) -> dict[int, float]:
        if not self.allowed.count:
            return {}
        hits = self.kb.full_text_rows(query, depth, self.allowed.rows)
        slots = self.index.rows.slots_of([row for row, _ in hits])
        pairs = zip(slots, (score for _, score in hits), strict=True)
        # A row that is not in the index's version, or not to be seen, is never shown.
        return {slot: score for slot, score in pairs if slot >= 0 and self.allowed.has(slot)}
