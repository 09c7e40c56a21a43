"""A reranker trained on a store's own questions, published, and searched with."""

from pathlib import Path

import pytest

from data_pipelines.artifacts import find
from data_pipelines.config import RetrievalConfig
from data_pipelines.model_artifacts import model_folder, model_source
from data_pipelines.open_retriever import open_retriever
from rayraft.config import load
from rayraft.errors import ArtifactMismatch, ConfigError, NotFoundError
from rayraft.metrics import ndcg_at_k
from serve.retriever_base import OwnReranker
from tests.ray.raft_store import CITIES, fee_questions, make_store
from train.reranker import check_base, from_questions, train_reranker
from train.reranker_config import RerankerConfig


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_reranker_is_trained_published_and_searched_with(tmp_path: Path) -> None:
    store, kb = make_store(tmp_path / "store")
    questions = fee_questions()
    config = load(
        RerankerConfig,
        None,
        [
            *("negatives=3", "candidates=8", "held_out=0.3", "train.max_steps=2"),
            *("train.global_batch_size=4", "train.workers.count=1", "train.learning_rate=0.001"),
        ],
    )
    asked = from_questions(questions, "questions/fees", config)
    assert {q.id for q in asked.train} | {q.id for q in asked.held_out} == set(CITIES)
    assert asked.train and asked.held_out
    trained = train_reranker(store, config, "fees", asked)
    assert trained.ref.artifact_id == "fees-v1"
    metrics = trained.manifest.metrics
    assert (metrics["rows"], metrics["measured"]) == (len(asked.train), len(asked.held_out))
    assert 0 <= metrics["ndcg@10_before"] <= 1 and 0 < metrics["ndcg@10_after"] <= 1
    plain = open_retriever(kb, RetrievalConfig(candidates=8))
    found = plain.search([q.question for q in asked.held_out], 10)
    assert metrics["ndcg@10_fused"] == pytest.approx(
        sum(
            ndcg_at_k([hit.document_id for hit in hits], question.gold_ids, 10) or 0
            for question, hits in zip(asked.held_out, found, strict=True)
        )
        / len(found)
    )
    assert trained.manifest.kb_version == kb.version

    scores = {}
    for name in ("mini-reranker", "fees-v1"):
        opened = open_retriever(kb, RetrievalConfig(rerank=5, reranker=name))
        (hits,) = opened.search([questions[3].question], 5)
        assert hits[0].document_id == "fees/Oslo.md"
        scores[name] = [hit.score for hit in hits]
    assert scores["mini-reranker"] != scores["fees-v1"]
    texts = [hit.text for hit in hits]
    sent = [OwnReranker(store, name, 1).score(questions[3].question, texts) for name in scores]
    assert sent[0] != sent[1], "a service scores clients' texts by the store's reranker, too"

    with pytest.raises(NotFoundError, match="no reranker 'fees-v2'; there is fees-v1"):
        model_source(store, "reranker", "fees-v2")
    folder = model_folder(find(store, "reranker", "fees-v1"))
    (folder / "config.json").write_text("{}")
    with pytest.raises(ArtifactMismatch, match=r"config\.json"):
        model_source(store, "reranker", "fees-v1")


def test_names_that_are_no_ids_stay_what_they_are(tmp_path: Path) -> None:
    for name in ("mini-reranker", str(tmp_path), "BAAI/bge-reranker-v2-m3"):
        assert model_source(str(tmp_path), "reranker", name) == name


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.base_model='mini': is MiniForConditional"):
        check_base("mini")
