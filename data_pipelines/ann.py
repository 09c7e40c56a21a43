"""Approximate indexes over the vectors of a snapshot: HNSW, and IVF-PQ for more of them.

They only propose slots: what is returned is scored by the stored vectors. They are never changed;
removed rows are filtered out and new ones searched exactly, until the next build.
"""

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from data_pipelines.config import DenseConfig, IndexKind
from data_pipelines.filters import Mask
from data_pipelines.vectors import FloatArray, Slots, one_thread

_FAISS: Any = faiss  # its type stubs know the C++ signatures, not those of its Python layer

AnnKind = Literal["hnsw", "ivfpq"]
_TRAINING_VECTORS_PER_LIST = 64
_MOST_TRAINING_VECTORS = 400_000
_PRODUCTS_PER_STEP = 8
"""So many vectors are read in a row while a search of the graph, which jumps, takes one step."""


def kind_for(wanted: IndexKind, chunks: int, config: DenseConfig) -> AnnKind | None:
    """The kind of index for so many chunks; None for exact search."""
    if wanted == "auto":
        if chunks <= config.exact_chunks:
            return None
        return "hnsw" if chunks <= config.hnsw_chunks else "ivfpq"
    if not chunks or wanted == "exact":
        return None
    return None if wanted == "disk" else wanted


class AnnIndex:
    """Proposes neighbours; safe in several threads."""

    def __init__(self, index: Any, kind: AnnKind, config: DenseConfig) -> None:
        self.kind = kind
        self.size = int(index.ntotal)
        self._index = index
        self._config = config
        self._plain: dict[int, Any] = {}  # how to search unfiltered; made once, as it takes a while

    @classmethod
    def build(cls, kind: AnnKind, vectors: FloatArray, config: DenseConfig) -> "AnnIndex":
        """The index of float32 [n, dim] vectors, by all threads that faiss may use."""
        make = _hnsw if kind == "hnsw" else _ivfpq
        return cls(make(vectors, config), kind, config)

    @classmethod
    def open(cls, path: Path, kind: AnnKind, config: DenseConfig) -> "AnnIndex":
        """A saved one, mapped into memory and so shared by the processes of a machine."""
        return cls(_FAISS.read_index(str(path), _FAISS.IO_FLAG_MMAP_IFC), kind, config)

    def with_config(self, config: DenseConfig) -> "AnnIndex":
        """The same index, searched otherwise."""
        return AnnIndex(self._index, self.kind, config)

    def save(self, path: Path) -> None:
        """Writes the index into a file."""
        _FAISS.write_index(self._index, str(path))

    def propose(self, query: FloatArray, k: int, allowed: Mask | None, share: float) -> Slots:
        """Some `k` times the refinement factor slots near the query, all of them allowed.

        Args:
            query: float32 [dim].
            k: Wanted in the end.
            allowed: Bool [n >= size]; None for all.
            share: Share of allowed slots: the fewer, the more must be looked at.
        """
        wanted = self._wanted(k)
        effort = self._effort(wanted, share)
        if allowed is None:
            params = self._plain.get(effort) or self._plain.setdefault(effort, self._how(effort))
        else:
            bits = np.packbits(allowed[: self.size], bitorder="little")
            params = self._how(effort, sel=_FAISS.IDSelectorBitmap(bits))
        # One query searches a graph with one thread anyway.
        with nullcontext() if self.kind == "hnsw" else one_thread():
            _, slots = self._index.search(query[None, :], wanted, params=params)
        found: Slots = slots[0][slots[0] >= 0]
        return found

    def costs_more_than(self, products: int, k: int, share: float) -> bool:
        """Whether a search takes longer than so many inner products; always taken of IVF-PQ."""
        steps = self._effort(self._wanted(k), share)
        return self.kind != "hnsw" or products <= _PRODUCTS_PER_STEP * steps

    def _wanted(self, k: int) -> int:
        factor = self._config.refine if self.kind == "hnsw" else self._config.pq_refine
        return min(self.size, k * factor)

    def _effort(self, wanted: int, share: float) -> int:
        """Breadth of a search of the graph, or how many lists are read."""
        if self.kind == "hnsw":  # the breadth counts what the filter hides, too
            return math.ceil(max(self._config.ef_search, wanted / share))
        probes = math.ceil(self._config.probe_share * self._index.nlist / math.sqrt(share))
        return int(min(self._index.nlist, max(1, probes)))

    def _how(self, effort: int, **options: Any) -> Any:
        if self.kind == "hnsw":
            return _FAISS.SearchParametersHNSW(efSearch=effort, **options)
        return _FAISS.SearchParametersIVF(nprobe=effort, **options)


def _hnsw(vectors: FloatArray, config: DenseConfig) -> Any:
    # A search waits for memory: half of float32's traffic, at nearly its recall.
    quantizer = _FAISS.ScalarQuantizer
    codes = {"bf16": quantizer.QT_bf16, "8bit": quantizer.QT_8bit}[config.hnsw_codes]
    dim = vectors.shape[1]
    index = _FAISS.IndexHNSWSQ(dim, codes, config.hnsw_links, _FAISS.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = config.ef_construction
    if not index.is_trained:  # 8 bits need each dimension's bounds
        index.train(_sample(vectors, 50_000))
    index.add(vectors)
    return index


def _ivfpq(vectors: FloatArray, config: DenseConfig) -> Any:
    count, dim = vectors.shape
    lists = max(1, min(65_536, int(4 * math.sqrt(count)), count // 40))
    pieces = next(m for m in (dim // 4, dim // 2, dim, 1) if m and dim % m == 0)
    quantizer = _FAISS.IndexFlatIP(dim)
    bits = 8 if count >= 10_000 else 4  # 256 centroids need vectors to learn from
    metric = _FAISS.METRIC_INNER_PRODUCT
    index = _FAISS.IndexIVFPQ(quantizer, dim, lists, pieces, bits, metric)
    index.train(_sample(vectors, max(50_000, _TRAINING_VECTORS_PER_LIST * lists)))
    index.add(vectors)
    index.own_fields, _ = True, quantizer.this.disown()
    return index


def _sample(vectors: FloatArray, count: int) -> FloatArray:
    count = min(count, _MOST_TRAINING_VECTORS)
    if len(vectors) <= count:
        return np.ascontiguousarray(vectors)
    rows = np.random.default_rng(0).choice(len(vectors), count, replace=False)
    return np.asarray(vectors[np.sort(rows)])
