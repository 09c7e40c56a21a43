"""How well an embedder finds: dense search alone, exact, over chunks of a knowledge base."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_table import SEARCH_COLUMN
from data_pipelines.schema import vector_matrix
from data_pipelines.vectors import FloatArray
from rayraft.metrics import Difference, ndcg_at_k, paired_difference, recall_at_k
from rayraft.models.embedder import Embedder
from rayraft.records import Question

DEPTH = 10
"""Of the nDCG."""


@dataclass(frozen=True)
class Found:
    """Measures of each question, in their order."""

    recall: list[float]
    ndcg: list[float]


@dataclass(frozen=True)
class Sought:
    """Questions, and the chunks among which their golden documents are searched for."""

    questions: Sequence[Question]
    chunks: pa.Table
    """Columns `document_id`, `search_text` and `embedding`: the store's own vectors."""
    digest: str
    """Of the store's embedder."""
    k: int

    def by(self, embedder: Embedder) -> Found:
        """What this embedder finds; the store's own needs to embed the questions alone."""
        if embedder.spec.digest == self.digest:
            vectors = vector_matrix(self.chunks["embedding"])
        else:
            vectors = embedder.embed(self.chunks[SEARCH_COLUMN].to_pylist())
        return self._ranked(embedder.embed([q.question for q in self.questions]), vectors)

    def _ranked(self, asked: FloatArray, vectors: FloatArray) -> Found:
        documents = self.chunks["document_id"].to_pylist()
        found = Found([], [])
        for question, vector in zip(self.questions, asked, strict=True):
            order = np.argsort(-(vectors @ vector), kind="stable")[: max(self.k, DEPTH)]
            ids = [documents[i] for i in order]
            found.recall.append(recall_at_k(ids, question.gold_ids, self.k) or 0.0)
            found.ndcg.append(ndcg_at_k(ids[:DEPTH], question.gold_ids, DEPTH) or 0.0)
        return found


def sought(
    kb: KnowledgeBase, questions: Sequence[Question], k: int, at_most: int, seed: int
) -> Sought:
    """The questions with all chunks of their golden documents and others up to `at_most`."""
    table = kb.read_chunks(["document_id", SEARCH_COLUMN, "embedding"])
    golden = {i for question in questions for i in question.gold_ids}
    documents = table["document_id"].to_pylist()
    needed = [row for row, document in enumerate(documents) if document in golden]
    others = [row for row, document in enumerate(documents) if document not in golden]
    room = max(0, at_most - len(needed))
    if len(others) > room:
        others = random.Random(seed).sample(others, room)
    chosen = table.take(pa.array(sorted(needed + others), pa.int64()))
    return Sought(questions, chosen, kb.embedder.digest, k)


def figures(before: Found, after: Found, k: int) -> dict[str, float]:
    """Means before and after, and what changed with its 95% interval, by the question."""
    made: dict[str, float] = {}
    for name, old, new in (
        (f"recall@{k}", before.recall, after.recall),
        (f"ndcg@{DEPTH}", before.ndcg, after.ndcg),
    ):
        change = paired_difference(new, old)
        if change is None:
            continue
        made |= {f"{name}_before": float(np.mean(old)), f"{name}_after": float(np.mean(new))}
        made |= _change(name, change)
    return made


def _change(name: str, change: Difference) -> dict[str, float]:
    low, high = change.ci95
    return {f"{name}_change": change.mean, f"{name}_low": low, f"{name}_high": high}
