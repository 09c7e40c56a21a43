"""Training of an embedder on a store: rows of a RAFT run, the job, and what takes it up."""

from pathlib import Path

import numpy as np
import pytest

from data_pipelines.artifacts import publish
from data_pipelines.config import IngestConfig
from data_pipelines.ingest_job import run_ingest
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from data_pipelines.raft_publishing import parquet_bytes
from data_pipelines.reembed import reembed
from data_pipelines.schema import vector_matrix
from rayraft.config import load
from rayraft.errors import NotFoundError
from rayraft.manifests import Manifest
from rayraft.models.embedder import Embedder
from rayraft.prompts import completion, prompt_digest
from rayraft.records import RaftExample
from tests.ray.raft_store import documents, fee_questions
from tests.ray.tiny_models import save_embedder
from train.embedder import from_questions, from_raft, train_embedder
from train.embedder_command import summary
from train.embedder_config import EmbedderConfig
from train.embedder_measure import sought


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_embedder(tmp_path_factory.mktemp("bert"))


def make_store(folder: Path, tiny: str) -> str:
    """The fees, found by a small embedder."""
    files = folder / "files"
    for document in documents():
        path = files / document.document_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {document.title}\n\n{document.text}\n")
    config = load(IngestConfig, None, [f"embedding.embedder={tiny}"])
    run_ingest([str(files)], str(folder / "store"), config)
    return str(folder / "store")


def test_raft_rows_teach_golden_chunks_against_their_own_distractors(
    tiny: str, tmp_path: Path
) -> None:
    store = make_store(tmp_path, tiny)
    kb = KnowledgeBase.open(store)
    chunks = [own[0] for own in kb.passages_by_document().values()][:4]
    made = []
    for number, has_golden in enumerate([True, False, True]):
        golden, shown = chunks[number], [p for i, p in enumerate(chunks) if i != number]
        made.append(
            RaftExample(
                example_id=str(number),
                chunk_id=golden.chunk_id if number < 2 else "gone:0",
                document_id=golden.document_id,
                question="What does it cost?",
                passages=[*shown[:1], golden, *shown[1:]] if has_golden else shown,
                golden_ids=[golden.chunk_id if number < 2 else "gone:0"],
                has_golden=has_golden,
                quote="",
                answer="7 euros",
                completion=completion("", "7 euros"),
                split="train",
            )
        )
    files: dict[str, bytes | Path] = {
        "train.parquet": parquet_bytes(made),
        "validation.parquet": parquet_bytes([]),
    }
    bound = Manifest(kind="raft", prompt_digest=prompt_digest(), kb_version=kb.version)
    publish(store, "raft", "r", files, bound)
    lessons = from_raft(store, "r", EmbedderConfig())
    by_id = {c.question.id: c for c in lessons.train}
    assert by_id.keys() == {"0", "1"}, "the third one's golden chunk is not there"
    for number in (0, 1):
        found = by_id[str(number)]
        assert found.right.text == chunks[number].text
        assert {p.chunk_id for p in found.wrong} == {
            p.chunk_id for i, p in enumerate(chunks) if i != number
        }
    assert (lessons.source, lessons.kb.version) == ("raft/r", kb.version)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_an_embedder_is_trained_published_and_taken_up(tiny: str, tmp_path: Path) -> None:
    store = make_store(tmp_path, tiny)
    config = load(
        EmbedderConfig,
        None,
        [
            *(f"train.base_model={tiny}", "group=4", "negatives=2", "candidates=8", "passes=2"),
            *("held_out=0.4", "train.workers.count=1", "train.precision=fp32", "train.lora.r=4"),
            *("train.max_steps=3", "train.learning_rate=0.01", "train.log_every_steps=1"),
        ],
    )
    lessons = from_questions(store, fee_questions(), "questions/fees", config)
    assert len(lessons.train) + len(lessons.held_out) == len(fee_questions())
    trained = train_embedder(store, config, "fees", lessons)
    assert trained.ref.artifact_id == "fees-v1"
    metrics = trained.manifest.metrics
    assert metrics["measured"] == len(lessons.held_out) > 0
    assert metrics["measured_chunks"] == KnowledgeBase.open(store).count_chunks()
    assert metrics["ndcg@10_low"] <= metrics["ndcg@10_change"] <= metrics["ndcg@10_high"]
    said = summary(trained)
    better = min(metrics["ndcg@10_low"], metrics["recall@4_low"]) > 0
    assert ("kb reembed --embedder fees-v1" in said) == better
    assert ("not better" in said) != better

    with pytest.raises(NotFoundError, match="no embedder 'fees-v2'; there is fees-v1"):
        reembed(store, "fees-v2")
    before = KnowledgeBase.open(store)
    reembed(store, "fees-v1")
    kb = KnowledgeBase.open(store)
    assert kb.embedder.name == "fees-v1" and kb.embedder.digest != before.embedder.digest
    new = Embedder.load(trained.ref.uri)
    table = kb.read_chunks(["search_text", "embedding"])
    expected = new.embed(table["search_text"].to_pylist())
    np.testing.assert_allclose(vector_matrix(table["embedding"]), expected, atol=1e-3)
    (hits,) = open_retriever(kb).search(["What does a parcel cost in Oslo?"], 3)
    assert len(hits) == 3
    added = tmp_path / "more" / "new.md"
    added.parent.mkdir()
    added.write_text("# Riga\n\nThe parcel fee in Riga is 88 euros.\n")
    run_ingest([str(added)], store, IngestConfig())
    again = KnowledgeBase.open(store)
    assert again.version > kb.version and again.embedder == kb.embedder
    assert sought(again, [], 4, at_most=5, seed=0).chunks.num_rows == 5
