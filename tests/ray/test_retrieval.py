"""Hybrid retrieval against brute force: filters before the top k, refreshed equals fresh."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.config import ChunkingConfig
from data_pipelines.ingest import delete_document, ingest_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.retrieval import HybridRetriever, Method, RetrievalConfig
from rayraft.errors import ArtifactMismatch, InputError
from rayraft.fusion import reciprocal_rank_fusion
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Document, Passage
from tests.ray.hash_embedder import SPEC, HashEmbedder

WORDS = [
    "oil",
    "tax",
    "rate",
    "shop",
    "lake",
    "bird",
    "stone",
    "glass",
    "river",
    "cloud",
    "paper",
    "metal",
]
GROUPS = ["hr", "it", "public", "leads"]
CHUNKING = ChunkingConfig(chunk_tokens=16)


def random_document(number: int, generator: random.Random) -> Document:
    return Document(
        document_id=f"d{number}",
        title=" ".join(generator.choices(WORDS, k=2)),
        text=" ".join(generator.choices(WORDS, k=generator.randint(3, 40))) + f" u{number}",
        metadata={"region": generator.choice(["X", "Y"]), "n": generator.randint(0, 9)},
        acl=generator.sample(GROUPS, generator.choice([0, 0, 1, 2])),
    )


def put(kb: KnowledgeBase, documents: list[Document]) -> int:
    return ingest_documents(documents, kb, HashEmbedder(), CHUNKING)


@pytest.fixture
def kb(tmp_path: Path) -> KnowledgeBase:
    kb = KnowledgeBase.create_or_open(str(tmp_path), SPEC)
    generator = random.Random(0)
    put(kb, [random_document(number, generator) for number in range(60)])
    return kb


def retriever(kb: KnowledgeBase, **config: float) -> HybridRetriever:
    return HybridRetriever(kb, HashEmbedder(), RetrievalConfig.model_validate(config))


def search(found: HybridRetriever, query: str, k: int, **options: object) -> list[Passage]:
    [passages] = found.search([query], k, **options)  # type: ignore[arg-type]
    return passages


def readable(acl: list[str], groups: tuple[str, ...]) -> bool:
    return not acl or bool({*groups, "public"} & {*acl})


@pytest.mark.parametrize("seed", range(8))
def test_filtered_search_is_the_brute_force_top_k_of_what_is_allowed(seed: int, kb: KnowledgeBase):
    generator = random.Random(seed)
    groups = tuple(generator.sample(GROUPS, generator.randint(0, 2)))
    region = generator.choice(["X", "Y"])
    where = {"region": region, "n": {"gte": 3}}
    query = " ".join(generator.choices(WORDS, k=3))
    table = kb.read_chunks().to_pylist()
    documents = {i: kb.document(i) for i in kb.document_hashes()}
    allowed = {
        row["chunk_id"]: row
        for row in table
        if readable(row["acl"], groups)
        and documents[row["document_id"]].metadata["region"] == region
        and int(documents[row["document_id"]].metadata["n"] or 0) >= 3
    }
    [vector] = HashEmbedder().embed([query])
    cosines = {i: float(np.dot(row["embedding"], vector)) for i, row in allowed.items()}
    # Full-text search over everything, cut down afterwards: what a pre-filter must equal.
    scores = {i: s for i, s in kb.full_text_search(query, len(table)) if i in allowed}
    by_dense = sorted(cosines, key=lambda i: (-cosines[i], i))
    by_sparse = sorted(scores, key=lambda i: (-scores[i], i))
    assert len(by_dense) > 5

    found = retriever(kb, candidates=10)
    options = {"where": where, "groups": groups}
    dense = search(found, query, 10, method="dense", **options)
    sparse = search(found, query, 10, method="sparse", **options)
    hybrid = search(found, query, 10, **options)

    # By score: which of several equal ones is the last to be in is left open.
    assert [p.dense_score for p in dense] == pytest.approx([cosines[i] for i in by_dense[:10]])
    assert [p.sparse_score for p in sparse] == pytest.approx([scores[i] for i in by_sparse[:10]])
    fused = reciprocal_rank_fusion([[p.chunk_id for p in dense], [p.chunk_id for p in sparse]])
    assert [(p.chunk_id, p.score) for p in hybrid] == fused[:10]
    for passage in (*dense, *sparse, *hybrid):
        row = allowed[passage.chunk_id]
        assert (passage.text, passage.document_id) == (row["text"], row["document_id"])
        assert documents[passage.document_id].text[passage.start : passage.end] == passage.text


@pytest.mark.parametrize("method", ["dense", "sparse", "hybrid"])
def test_forbidden_chunks_are_never_returned(method: Method, kb: KnowledgeBase):
    found = retriever(kb)
    for groups in ((), ("hr",), ("it", "leads"), ("nobody",)):
        passages = search(found, " ".join(WORDS), 1000, groups=groups, method=method)
        seen = {kb.document(i).document_id for i in {p.document_id for p in passages}}
        expected = {i for i in kb.document_hashes() if readable(kb.document(i).acl, groups)}
        assert seen == expected
        assert 0 < len(seen) < 60


def test_an_unknown_metadata_field_matches_nothing(kb: KnowledgeBase):
    assert search(retriever(kb), "oil", 5, where={"regoin": "X"}) == []


def test_nothing_is_found_in_an_empty_knowledge_base(tmp_path: Path):
    empty = KnowledgeBase.create_or_open(str(tmp_path / "empty"), SPEC)
    found = retriever(empty)

    assert found.search(["oil", "tax"], 3) == [[], []]
    put(empty, [Document(document_id="a", text="oil")])
    assert found.refresh() == empty.version
    assert [p.document_id for p in search(found, "oil", 3)] == ["a"]


@pytest.mark.parametrize("seed", range(4))
def test_a_refreshed_index_equals_a_fresh_one(seed: int, kb: KnowledgeBase):
    generator = random.Random(seed)
    followed = retriever(kb)
    for _ in range(6):
        for _ in range(generator.randint(1, 3)):
            numbers = generator.sample(range(80), 4)
            present = [i for i in (f"d{n}" for n in numbers) if i in kb.document_hashes()]
            if present and generator.random() < 0.4:
                delete_document(present[0], kb)
            else:
                put(kb, [random_document(number, generator) for number in numbers])
        assert followed.version < kb.version
        assert followed.refresh() == kb.version == followed.version
        fresh = retriever(kb)
        for method in ("dense", "sparse", "hybrid"):
            options = {"method": method, "groups": ("hr",), "where": {"region": "X"}}
            query = " ".join(generator.choices(WORDS, k=3))
            assert search(followed, query, 200, **options) == search(fresh, query, 200, **options)


def test_searches_see_their_version_until_refresh(kb: KnowledgeBase):
    found = retriever(kb)
    before = search(found, "u1 u2 u3", 10)
    version = found.version
    put(kb, [Document(document_id=f"d{n}", text="gone") for n in range(10)])

    assert found.version == version
    assert search(found, "u1 u2 u3", 10) == before
    assert found.refresh() == kb.version
    assert search(found, "u1 u2 u3", 10) != before


def test_passages_tell_the_version_that_wrote_them(kb: KnowledgeBase):
    found = retriever(kb)
    first = {p.document_id: p.updated_in or 0 for p in search(found, " ".join(WORDS), 100)}
    assert set(first.values()) == {next(iter(first.values()))}
    changed = put(kb, [Document(document_id="d1", text="oil tax rate shop lake bird")])
    found.refresh()
    second = {p.document_id: p.updated_in or 0 for p in search(found, " ".join(WORDS), 100)}
    # The full-text index may catch up in a version of its own after the write.
    before = first.pop("d1", max(first.values()))
    assert before < second.pop("d1") <= changed
    assert second == first


def test_searching_while_refreshing_never_mixes_versions(kb: KnowledgeBase):
    put(kb, [Document(document_id=f"d{n}", text=f"flag state0 u{n}") for n in range(60)])
    found = retriever(kb)
    done = threading.Event()
    problems: list[object] = []

    def keep_searching() -> None:
        while not done.is_set():
            try:
                passages = search(found, "flag", 60)
                states = {p.text.split()[1] for p in passages}
                if len(passages) != 60 or len(states) != 1:
                    problems.append((len(passages), states))
            except BaseException as exc:
                problems.append(exc)

    threads = [threading.Thread(target=keep_searching) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for state in range(1, 6):
            texts = [f"flag state{state} u{n}" for n in range(60)]
            put(kb, [Document(document_id=f"d{n}", text=text) for n, text in enumerate(texts)])
            found.refresh()
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert problems == []


@pytest.mark.parametrize("method", ["full_text_search", "delta"])
def test_reading_from_storage_holds_up_no_other_search(
    method: str, kb: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
):
    found = retriever(kb)
    put(kb, [Document(document_id="d1", text="oil")])
    reading, answered = threading.Event(), threading.Event()
    read = getattr(KnowledgeBase, method)

    def slow(self: KnowledgeBase, *args: object, **options: object) -> object:
        reading.set()
        assert answered.wait(20), "the search waited for storage"
        return read(self, *args, **options)

    monkeypatch.setattr(KnowledgeBase, method, slow)
    with ThreadPoolExecutor(2) as threads:
        busy = threads.submit(
            found.refresh if method == "delta" else lambda: found.search(["a"], 3)
        )
        assert reading.wait(20)
        version = found.version
        assert threads.submit(search, found, "oil", 3, method="dense").result(timeout=10)
        assert found.version == version
        answered.set()
        busy.result(timeout=20)


def test_another_embedder_is_refused(kb: KnowledgeBase):
    other = EmbedderSpec(name="hash", digest="1" * 64, dim=64, max_tokens=512)

    with pytest.raises(ArtifactMismatch):
        HybridRetriever(kb, HashEmbedder(other))


@pytest.mark.parametrize(
    ("k", "options"),
    [(0, {}), (-1, {}), (3, {"method": "magic"}), (3, {"where": {"n": {"like": 1}}})],
)
def test_malformed_requests_are_input_errors(k: int, options: dict[str, object], kb: KnowledgeBase):
    with pytest.raises(InputError):
        search(retriever(kb), "oil", k, **options)


@pytest.mark.parametrize("query", ["", "?", '" OR 1=1 --', "\0", "oil " * 2000])
def test_odd_questions_do_not_break_a_search(query: str, kb: KnowledgeBase):
    assert len(search(retriever(kb), query, 3)) == 3


def test_chunks_are_read_by_id_in_the_order_asked(kb: KnowledgeBase) -> None:
    rows = {
        row["chunk_id"]: row for row in kb.read_chunks(["chunk_id", "title", "text"]).to_pylist()
    }
    ids = sorted(rows, reverse=True)[:7]
    read = retriever(kb).read(ids)
    assert [passage.chunk_id for passage in read] == ids
    assert all(p.text == rows[p.chunk_id]["text"] for p in read)
    assert all(p.title == rows[p.chunk_id]["title"] for p in read)
    assert retriever(kb).read([]) == []
    with pytest.raises(KeyError):
        retriever(kb).read(["nobody"])
