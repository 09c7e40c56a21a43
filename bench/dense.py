"""Dense search: ours against usearch, hnswlib and LanceDB, each at recall@10 of at least 0.95.

Every contender searches one query at a time through its Python interface, with the least breadth
that reaches the recall; two threads are two Python threads, as in a service. Filters let 1, 10 and
50 % pass. usearch has no filter in Python and is left out there; hnswlib calls Python per vector.
"""

import functools
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import hnswlib
import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from usearch.index import Index

from bench.harness import FULL, report
from bench.vectors import FloatArray, enlarged, real_queries, real_vectors
from data_pipelines.ann import AnnIndex, AnnKind
from data_pipelines.chunk_rows import RowsView
from data_pipelines.config import DenseConfig
from data_pipelines.memory_index import IndexView
from data_pipelines.row_index import Allowed
from data_pipelines.vectors import Vectors

K, RECALL, THREADS = 10, 0.95, 2
USUAL = 100_000
"""Vectors; figures of other numbers have files of their own (`VECTORS`)."""
BREADTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
Ids = npt.NDArray[np.int64]
Search = Callable[[FloatArray], Any]
Mask = npt.NDArray[np.bool_] | None


class Ours:
    """The index as `HybridRetriever` searches it."""

    name = "rayraft"

    def __init__(self, vectors: FloatArray, kind: AnnKind = "hnsw") -> None:
        self._count, self._vectors = len(vectors), Vectors(vectors, vectors[:0])
        self._folder = tempfile.TemporaryDirectory()
        path, config = Path(self._folder.name) / "index", DenseConfig()
        AnnIndex.build(kind, vectors, config).save(path)
        # As a replica has it: mapped, which is also quicker than one that was built in memory.
        self._ann = AnnIndex.open(path, kind, config)
        ids = np.arange(self._count)
        everything = np.ones(self._count, dtype=np.bool_)
        self._rows = RowsView((), ids[:0], ids, everything, self._count, {})
        # What a hit is scored by in the end is a float32 vector in a mapped file.
        self.bytes_per_vector = (path.stat().st_size + vectors.nbytes) / len(vectors)

    def search(self, breadth: int, mask: Mask) -> Search:
        """Top-k ids by a search of this breadth."""
        config = DenseConfig(ef_search=breadth)
        view = IndexView(self._rows, self._vectors, self._ann.with_config(config), config)
        count = self._count if mask is None else int(mask.sum())
        allowed = Allowed(mask, count, None)
        return lambda query: view.nearest(query, K, allowed)[0]


class Hnswlib:
    """hnswlib with its usual parameters."""

    name = "hnswlib"

    def __init__(self, vectors: FloatArray) -> None:
        self._index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        self._index.init_index(len(vectors), ef_construction=120, M=24)
        self._index.add_items(vectors, num_threads=THREADS)
        self.bytes_per_vector = self._index.index_file_size() / len(vectors)

    def search(self, breadth: int, mask: Mask) -> Search:
        """Top-k ids by a search of this breadth."""

        def search(query: FloatArray) -> Any:
            self._index.set_ef(max(K, breadth))
            options = {} if mask is None else {"filter": lambda item: bool(mask[item])}
            try:
                return self._index.knn_query(query, k=K, num_threads=1, **options)[0][0]
            except RuntimeError:  # fewer than k found
                return np.zeros(0, dtype=np.int64)

        return search


class Usearch:
    """usearch with bf16 vectors."""

    name = "usearch"

    def __init__(self, vectors: FloatArray) -> None:
        self._index = Index(
            ndim=vectors.shape[1], metric="ip", dtype="bf16", connectivity=24, expansion_add=120
        )
        self._index.add(np.arange(len(vectors)), vectors, threads=THREADS)
        self.bytes_per_vector = self._index.memory_usage / len(vectors)

    def search(self, breadth: int, mask: Mask) -> Search | None:
        """Top-k ids by a search of this breadth."""
        if mask is not None:
            return None

        def search(query: FloatArray) -> Any:
            self._index.expansion_search = breadth
            return self._index.search(query, K, threads=1).keys

        return search


class LanceDb:
    """LanceDB's HNSW with scalar quantisation, on disk, with a pre-filter."""

    name = "LanceDB"

    def __init__(self, vectors: FloatArray, shares: dict[str, npt.NDArray[np.bool_]]) -> None:
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        columns = {"id": np.arange(len(vectors)), "vector": column, **shares}
        self._masks = shares
        folder = tempfile.mkdtemp()
        database = lancedb.connect(folder)
        self._table = database.create_table("t", pa.table(columns))
        self._table.create_index(
            metric="dot", index_type="IVF_HNSW_SQ", num_partitions=1, m=24, ef_construction=120
        )
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        self.bytes_per_vector = size / len(vectors)

    def search(self, breadth: int, mask: Mask) -> Search:
        """Top-k ids by a search of this breadth."""
        name = next((name for name, one in self._masks.items() if one is mask), None)

        def search(query: FloatArray) -> Any:
            asked = (
                self._table.search(query)
                .distance_type("dot")
                .ef(max(breadth, 2 * K))
                .refine_factor(2)
            )
            asked = asked.limit(K).select(["id", "_distance"])
            if name is not None:
                asked = asked.where(name, prefilter=True)
            return asked.to_arrow()["id"].to_numpy()

        return search


def recall(search: Search, queries: FloatArray, truth: Ids) -> float:
    """Share of the true top k that is found."""
    found = [
        len({*search(q).tolist()} & {*t.tolist()}) for q, t in zip(queries, truth, strict=True)
    ]
    return sum(found) / truth.size


def queries_per_s(search: Search, queries: FloatArray, threads: int) -> float:
    """Queries a second by so many threads, each asking one at a time."""
    began = time.perf_counter()
    if threads == 1:
        for query in queries:
            search(query)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda part: [search(q) for q in part], np.array_split(queries, threads)))
    return len(queries) / (time.perf_counter() - began)


def calibrated(
    contender: Any, queries: FloatArray, truth: Ids, mask: Mask
) -> tuple[Search, int, float] | None:
    """The search of the least breadth that reaches the recall, else of the greatest."""
    best = None
    for breadth in BREADTHS:
        search = contender.search(breadth, mask)
        if search is None:
            return None
        best = (search, breadth, recall(search, queries, truth))
        if best[2] >= RECALL:
            break
    return best


def compare(
    contenders: Sequence[Any], queries: FloatArray, truth: Ids, mask: Mask, name: str
) -> None:
    """One table and result file, called `name`: all contenders on the same work."""
    found = {one.name: calibrated(one, queries[:100], truth[:100], mask) for one in contenders}
    sizes = {one.name: round(one.bytes_per_vector) for one in contenders}
    figures: dict[str, list[float]] = {}
    notes: dict[str, Any] = {}
    rounds = 5 if FULL else 3
    threads = 2 if name.endswith("2 threads") else 1
    for _ in range(rounds):
        for who, one in found.items():
            if one is not None:
                figures.setdefault(who, []).append(queries_per_s(one[0], queries, threads))
                known = {"breadth": one[1], "recall@10": round(one[2], 3)}
                notes[who] = {**known, "bytes_per_vector": sizes[who]}
    short = name.replace(" ", "_").replace("%", "")
    packages = ["faiss-cpu", "usearch", "hnswlib", "lancedb", "numpy"]
    report(f"dense_{short}", WORK.format(name), "queries/s", figures, packages, True, notes)


WORK = "{}; vectors of passages, enlarged by points between neighbours, d=384, recall@10 >= 0.95"


def main() -> None:
    """Runs the bench."""
    torch.set_num_threads(THREADS)
    real = real_vectors()
    vectors = enlarged(real, int(os.environ.get("VECTORS", 1_000_000 if FULL else USUAL)))
    queries = real_queries(2000 if FULL else 500)
    rng = np.random.default_rng(1)
    shares = {f"pass{p}": rng.random(len(vectors)) < p / 100 for p in (1, 10, 50)}
    builders: list[Callable[[], Any]] = [
        functools.partial(Ours, vectors),
        functools.partial(Usearch, vectors),
        functools.partial(Hnswlib, vectors),
        functools.partial(LanceDb, vectors, shares),
    ]
    contenders = []
    for build in builders:
        began = time.perf_counter()
        contenders.append(build())
        took, each = time.perf_counter() - began, contenders[-1].bytes_per_vector
        print(f"{contenders[-1].name} built in {took:.0f} s, {each:.0f} bytes a vector", flush=True)
    faiss.omp_set_num_threads(1)  # a query has one thread, as in a service
    metric = faiss.METRIC_INNER_PRODUCT
    _, truth = faiss.knn(queries, vectors, K, metric=metric)
    size = "" if len(vectors) == USUAL else f"{len(vectors)} vectors "
    for threads in (1, 2):
        compare(contenders, queries, truth, None, f"{size}unfiltered {threads} threads")
    for name, mask in shares.items():
        places = np.flatnonzero(mask)
        _, inside = faiss.knn(queries, vectors[places], K, metric=metric)
        compare(contenders, queries[:200], places[inside][:200], mask, f"{size}{name}% 1 thread")


if __name__ == "__main__":
    main()
