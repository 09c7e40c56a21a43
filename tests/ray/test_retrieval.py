"""Hybrid retrieval against brute force: filters before the top k."""

import random
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.kb import KnowledgeBase
from data_pipelines.retrieval import HybridRetriever, Method
from rayraft.errors import ArtifactMismatch, InputError
from rayraft.fusion import reciprocal_rank_fusion
from rayraft.models.spec import EmbedderSpec
from rayraft.records import Document
from tests.ray.hash_embedder import SPEC, HashEmbedder
from tests.ray.random_kb import (
    GROUPS,
    WORDS,
    put,
    random_kb,
    readable,
    retriever,
    search,
)


@pytest.fixture
def kb(tmp_path: Path) -> KnowledgeBase:
    return random_kb(str(tmp_path))


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
