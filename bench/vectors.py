"""The work of the dense bench: vectors and queries of real texts.

`STORE=<store>` takes the vectors of a knowledge base (of several, with ":" between) and
`QUESTIONS=<file>` the queries; without them the example corpus is embedded. Where more vectors are
wanted than there are texts, the rest are points between near neighbours, with noise.
"""

import os

import faiss
import numpy as np
import numpy.typing as npt

from bench.corpus import example_chunks, example_questions
from data_pipelines.kb import KnowledgeBase
from data_pipelines.schema import vector_matrix
from rayraft.models.embedder import Embedder
from rayraft.questions import read_questions

FloatArray = npt.NDArray[np.float32]
_NEIGHBOURS = 8
_NOISE = 0.3  # length of the noise against vectors of length 1


def real_vectors() -> FloatArray:
    """float32 [n, dim] of passages."""
    if stores := os.environ.get("STORE"):
        tables = [KnowledgeBase.open(s).read_chunks(["embedding"]) for s in stores.split(":")]
        return np.concatenate([vector_matrix(table["embedding"]) for table in tables])
    return Embedder.load(threads=2).embed([chunk.text for chunk in example_chunks(160)])


def real_queries(count: int) -> FloatArray:
    """float32 [count, dim] of people's questions."""
    file = os.environ.get("QUESTIONS")
    questions = read_questions(file) if file else example_questions()
    return Embedder.load(threads=2).embed([q.question for q in questions[:count]])


def enlarged(vectors: FloatArray, count: int) -> FloatArray:
    """float32 [count, dim]: the vectors, and points between near neighbours among them."""
    if len(vectors) >= count:
        return np.ascontiguousarray(vectors[:count])
    rng = np.random.default_rng(0)
    _, near = faiss.knn(vectors, vectors, _NEIGHBOURS, metric=faiss.METRIC_INNER_PRODUCT)
    missing = count - len(vectors)
    ends = rng.integers(0, len(vectors), missing)
    others = near[ends, rng.integers(1, _NEIGHBOURS, missing)]
    weight = rng.uniform(0.2, 0.8, (missing, 1)).astype(np.float32)
    noise = rng.normal(0, _NOISE / vectors.shape[1] ** 0.5, (missing, vectors.shape[1]))
    made = vectors[ends] * weight + vectors[others] * (1 - weight) + noise.astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return np.ascontiguousarray(np.concatenate([vectors, made])[rng.permutation(count)])
