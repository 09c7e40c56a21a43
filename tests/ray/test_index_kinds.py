"""Every kind of index: filters before the top k, recall, deltas, snapshots and rebuilds."""

import json
import random
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.ann import AnnKind
from data_pipelines.config import DenseConfig
from data_pipelines.disk_index import DiskIndex
from data_pipelines.index_snapshot import SnapshotKind, Snapshots, delete_snapshots
from data_pipelines.kb import KnowledgeBase
from data_pipelines.kb_vectors import bring_up, vector_lag
from data_pipelines.kb_versions import purge
from data_pipelines.memory_index import MemoryIndex
from data_pipelines.schema import chunk_schema, vector_array
from data_pipelines.sharding import Shard
from rayraft.errors import ArtifactMismatch
from tests.ray.hash_embedder import SPEC
from tests.ray.random_kb import GROUPS, put, random_document, readable, retriever, search

CHUNKS, DIM = 3000, SPEC.dim
Kind = AnnKind | Literal["disk"] | None
faiss.omp_set_num_threads(1)  # so little work is slower in several
DENSE = DenseConfig(filter_exact_chunks=40, probe_share=0.15)
KINDS: tuple[Kind, ...] = (None, "hnsw", "ivfpq", "disk")
EIGHT_BITS: tuple[Kind, DenseConfig] = ("hnsw", DENSE.model_copy(update={"hnsw_codes": "8bit"}))


def vectors(count: int, seed: int) -> np.ndarray:
    """Clustered, as texts of a few subjects are."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(40, DIM))
    made = centres[generator.integers(0, 40, count)] + 0.7 * generator.normal(size=(count, DIM))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return np.asarray(made, dtype=np.float32)


def rows(first: int, count: int, seed: int) -> pa.Table:
    """One chunk a document."""
    generator = random.Random(seed)
    columns = {
        "chunk_id": [f"d{n}#0" for n in range(first, first + count)],
        "document_id": [f"d{n}" for n in range(first, first + count)],
        "text": [f"text {n}" for n in range(first, first + count)],
        **dict.fromkeys(("position", "start"), [0] * count),
        **dict.fromkeys(("title", "uri"), [""] * count),
        "end": [5] * count,
        "metadata": [f'{{"n": {generator.randint(0, 99)}}}' for _ in range(count)],
        "acl": [generator.sample(GROUPS, generator.choice([0, 1, 1])) for _ in range(count)],
        "document_hash": ["x"] * count,
        "embedding": vector_array(vectors(count, seed)),
    }
    return pa.table(columns, schema=chunk_schema(DIM))


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    """Three thousand chunks; `before` changes a tenth and removes a tenth of them."""
    made = KnowledgeBase.create_or_open(str(tmp_path_factory.mktemp("kinds")), SPEC)
    made.commit(rows(0, CHUNKS, 1))
    bring_up(made)  # Lance's own index, which a version after it does not cover
    made.checkout_latest()
    return made


@pytest.fixture(scope="module")
def before(kb: KnowledgeBase) -> KnowledgeBase:
    """The first version, of which the later one is known as well."""
    first = kb.snapshot()
    kb.commit(rows(0, 300, 2), [f"d{n}" for n in range(2700, 3000)])
    return first


class Plain:
    """The same search by plain rules over all rows."""

    def __init__(self, kb: KnowledgeBase):
        table = kb.read_chunks(["chunk_id", "metadata", "acl", "embedding"])
        self._matrix = np.stack(table["embedding"].to_numpy())
        self._rows = table.drop(["embedding"]).to_pylist()

    def cosines(self, query: np.ndarray, least: int, groups: tuple[str, ...]) -> dict[str, float]:
        """Of each chunk that may be seen."""
        return {
            row["chunk_id"]: float(score)
            for row, score in zip(self._rows, self._matrix @ query, strict=True)
            if readable(row["acl"], groups) and json.loads(row["metadata"])["n"] >= least
        }


@pytest.mark.parametrize(("kind", "dense"), [(kind, DENSE) for kind in KINDS] + [EIGHT_BITS])
def test_whatever_query_filter_and_index_the_true_top_k_of_what_is_allowed(
    kind: Kind, dense: DenseConfig, kb: KnowledgeBase, before: KnowledgeBase
):
    index: MemoryIndex | DiskIndex
    if kind == "disk":
        index = DiskIndex(before, dense)
    else:
        snapshots = Snapshots(kb.store, SnapshotKind(SPEC.digest, kind, dense))
        snapshots.build(before)
        index = snapshots.open(before.version)
    index.apply(kb.delta(before.version))
    assert kind != "disk" or vector_lag(kb), "some are indexed and some are not"
    generator, plain = random.Random(5), Plain(kb)
    found = wanted = 0
    for query in vectors(40, 3):
        least = generator.choice([0, 0, 50, 90, 99, 200])
        groups = tuple(generator.sample(GROUPS, generator.randint(0, 3)))
        truth = plain.cosines(query, least, groups)
        view, allowed = index.view(), index.allowed({"n": {"gte": least}}, groups)
        slots, scores = view.nearest(query, 10, allowed)
        ids = [row["chunk_id"] for row in view.rows.passages(slots.tolist())]
        assert len(ids) == len(set(ids)) == min(10, len(truth))
        assert set(ids) <= truth.keys(), "a forbidden chunk"
        assert scores.tolist() == pytest.approx([truth[i] for i in ids], abs=1e-5)
        assert sorted(scores.tolist(), reverse=True) == scores.tolist()
        best = sorted(truth.values(), reverse=True)[: len(ids)]
        assert kind is not None or scores.tolist() == pytest.approx(best, abs=1e-5)
        found += sum(score >= best[-1] - 1e-5 for score in scores) if best else 0
        wanted += len(best)
    assert found >= 0.95 * wanted


def test_a_snapshot_and_the_delta_are_the_same_as_reading_all(
    kb: KnowledgeBase, before: KnowledgeBase
):
    snapshots = Snapshots(kb.store, SnapshotKind(SPEC.digest, None, DenseConfig()))
    snapshots.build(before)
    assert snapshots.latest(before.version - 1) is None
    index = snapshots.open(snapshots.latest(kb.version) or 0)
    index.apply(kb.delta(before.version))
    fresh = MemoryIndex.of(kb)
    for query in vectors(5, 4):
        for groups in ((), ("hr",)):
            lists = []
            for one in (index, fresh):
                view = one.view()
                slots, scores = view.nearest(query, 50, one.allowed(None, groups))
                lists.append((view.rows.passages(slots.tolist()), scores.tolist()))
            assert lists[0] == lists[1]


def test_a_changed_file_of_a_snapshot_is_refused(before: KnowledgeBase):
    kind = SnapshotKind(SPEC.digest, None, DenseConfig())
    snapshots = Snapshots(before.store, kind)
    snapshots.build(before)
    file = Path(before.store) / "index" / f"{kind.key}-v{before.version}" / "vectors.npy"
    file.write_bytes(file.read_bytes()[:-4] + b"abcd")
    with pytest.raises(ArtifactMismatch, match="vectors"):
        snapshots.open(before.version)
    assert delete_snapshots(before.store) >= 1
    assert snapshots.latest(before.version) is None


def test_a_snapshot_in_a_bucket_is_copied_to_the_machine_once(
    before: KnowledgeBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kind = SnapshotKind(SPEC.digest, None, DenseConfig(), Shard(1, 4))
    snapshots = Snapshots(before.store, kind)
    monkeypatch.setattr(snapshots, "_local", False)  # as where nothing can be renamed or mapped
    snapshots.build(before)
    counts = [snapshots.open(before.version).count for _ in range(2)]
    assert counts == [MemoryIndex.of(before, shard=Shard(1, 4)).count] * 2
    [copy] = tmp_path.glob("rayraft-index-*/*")
    assert sorted(f.name for f in copy.iterdir()) == ["manifest.json", "rows.arrow", "vectors.npy"]


def test_the_parts_of_all_shards_are_the_whole(kb: KnowledgeBase):
    parts = [MemoryIndex.of(kb, shard=Shard(number, 3)) for number in range(3)]
    assert sum(part.count for part in parts) == MemoryIndex.of(kb).count
    assert min(part.count for part in parts) > 500


def test_maintaining_builds_what_is_due_and_a_restart_maps_it(tmp_path: Path):
    kb = KnowledgeBase.create_or_open(str(tmp_path), SPEC)
    generator = random.Random(1)
    put(kb, [random_document(number, generator) for number in range(60)])
    config: dict[str, Any] = {
        "index": "hnsw",
        "dense": {"filter_exact_chunks": 0, "rebuild_share": 0.5},
    }
    found = retriever(kb, **config)
    exact = retriever(kb, index="exact")
    assert found.index_kind == "exact"  # at once of use, before anything is built
    assert found.maintain() and not found.maintain()
    assert found.index_kind == "hnsw"
    assert retriever(kb, **config).index_kind == "hnsw"  # a restart
    query = "oil tax river"
    assert search(found, query, 5, method="dense") == search(exact, query, 5, method="dense")
    put(kb, [random_document(number, generator) for number in range(40, 90)])
    restarted = retriever(kb, **config)
    for one in (found, exact):
        one.refresh()
    lists = [search(one, query, 500, method="dense") for one in (found, exact, restarted)]
    assert lists[0] == lists[1] == lists[2]


def test_the_disk_index_finds_reads_and_follows_as_one_in_memory_does(tmp_path: Path):
    kb = KnowledgeBase.create_or_open(str(tmp_path), SPEC)
    kb.commit(rows(0, 1500, 1))
    dense = {"filter_exact_chunks": 0, "probe_share": 1, "pq_refine": 150, "rebuild_share": 0.1}
    found = retriever(kb, index="disk", dense=dense, neighbours=1, diversity=0.2)
    exact = retriever(kb, index="exact", neighbours=1, diversity=0.2)
    assert found.index_kind == "disk" and vector_lag(kb) is None

    def same() -> bool:
        asked: list[tuple[str, dict[str, object]]] = [
            (q, {"method": m}) for q in ("text 7", "oil tax") for m in ("dense", "hybrid")
        ]
        # By dense search alone: many equal BM25 scores pass this filter, the last ones by chance.
        asked += [("text 9", {"groups": ("hr",), "where": {"n": {"lt": 5}}, "method": "dense"})]
        return all(search(found, q, 10, **o) == search(exact, q, 10, **o) for q, o in asked)

    assert same()  # at once of use, before anything is built
    assert found.maintain()
    assert found.refresh() == exact.refresh() > kb.version and not found.maintain()
    assert kb.checkout_latest() and vector_lag(kb) == 0 and same()
    assert kb.optimize() and vector_lag(kb) == kb.unindexed_chunks() == 0, "each index by itself"
    kb.commit(rows(1000, 1300, 2), [f"d{n}" for n in range(100)])
    assert found.refresh() == exact.refresh() and vector_lag(kb) == 1300 and same()
    assert found.maintain() and found.refresh() == exact.refresh() and same()
    assert kb.checkout_latest() and vector_lag(kb) == 0
    assert found.read(["d1200#0", "d500#0"]) == exact.read(["d1200#0", "d500#0"])


def test_a_shard_on_disk_has_its_part_alone(kb: KnowledgeBase):
    for number in range(3):
        shard = Shard(number, 3)
        index = DiskIndex(kb, DENSE, shard)
        view = index.view()
        slots, _ = view.nearest(vectors(1, 9)[0], 200, index.allowed(None, ()))
        ids = {row["document_id"] for row in view.rows.passages(slots.tolist())}
        assert len(ids) == 200 and all(map(shard.has, ids))


def test_purging_leaves_no_vector_index_with_codes_of_deleted_chunks(tmp_path: Path):
    kb = KnowledgeBase.create_or_open(str(tmp_path), SPEC)
    kb.commit(rows(0, 1500, 1))
    bring_up(kb)
    before = {*(tmp_path / "kb" / "_indices").rglob("*.*")}
    purge(str(tmp_path))
    assert kb.checkout_latest() and vector_lag(kb) is None and not kb.unindexed_chunks()
    assert before and not any(path.exists() for path in before)
