"""The refresh cycle on a small store with real training: delta, replay, gate, erasure, drift."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_pipelines.artifacts import find, listing, read_file, read_manifest
from data_pipelines.champions import champions
from data_pipelines.drift import DriftConfig, advice, measure_drift
from data_pipelines.feedback import add_feedback, read_feedback
from data_pipelines.ingest import delete_document, ingest_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.lineage import documents_seen
from data_pipelines.raft_reading import read_run
from data_pipelines.raft_staging import Staging
from rayraft.cli import build_app
from rayraft.config import load
from rayraft.feedback import Feedback
from rayraft.models.embedder import Embedder
from rayraft.records import Document, Question
from tests.ray.raft_store import make_store, teacher_endpoint
from tests.ray.tiny_models import save_seq2seq
from train.erasure import erase_deleted
from train.refresh import refresh
from train.refresh_config import RefreshConfig

HOLDOUT = [Question(id="h", question="What does Hue cost?", answers=["18 euros"], gold_ids=["x"])]


@pytest.fixture(scope="module")
def store(tmp_path_factory, ray_cluster):
    return make_store(tmp_path_factory.mktemp("store"))[0]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    base = save_seq2seq(tmp_path_factory.mktemp("t5"))
    with teacher_endpoint() as server:
        yield load(
            RefreshConfig,
            None,
            [
                "raft.teacher.kind=openai",
                f"raft.teacher.url={server.url}",
                "raft.teacher.max_retries=0",
                "raft.questions_per_chunk=1",
                "raft.workers.actors=1",
                "raft.guard.reranker=null",
                "min_replay=3",
                "replay=0",
                f"train.base_model={base}",
                "train.precision=fp32",
                "train.max_steps=2",
                "train.lora.r=4",
                "train.workers.count=1",
                f"evaluate.base_model={base}",
                "evaluate.actors=1",
                "evaluate.max_new_tokens=8",
                "gate.confidence=0.5",
            ],
        )


def change(store, *documents, removed=()):
    kb = KnowledgeBase.open(store)
    if documents:
        ingest_documents(list(documents), kb, Embedder.load(threads=1))
    for document_id in removed:
        kb.checkout_latest()
        delete_document(document_id, kb)


def fee(city, euros):
    text = f"The parcel fee in {city} is {euros} euros for every customer."
    return Document(document_id=f"fees/{city}.md", title=f"Fees in {city}", text=text)


@pytest.mark.slow
def test_the_whole_cycle(store, config):
    # A model of random weights answers nothing: everything is a tie, which counts half.
    first = refresh(store, config, "support", HOLDOUT)
    assert first.champion is None and first.verdict is not None
    assert first.verdict.promote and first.examples["changed"] == 8
    assert champions(store) == {"reading": "support-v1"}
    assert {one.name for one in first.comparisons} == {"changed", "holdout"}

    again = refresh(store, config, "support", HOLDOUT)
    assert (again.challenger, again.champion) == (None, "support-v1")

    change(store, fee("Hue", 99))
    corrected = Feedback(
        question="What is the parcel fee in Vinh?",
        verdict="corrected",
        answer="25 euros",
        document_ids=["fees/Vinh.md"],
    )
    version = add_feedback(store, [corrected])
    second = refresh(store, config, "support", HOLDOUT)
    assert second.challenger == "support-v2" and second.champion == "support-v1"
    assert second.examples == {"changed": 1, "feedback": 1, "replayed": 3}
    manifest = read_manifest(find(store, "adapter", "support-v2"))
    assert {"adapters/support-v1", f"feedback@{version}"} <= set(manifest.made_from)
    rows = [
        row for t in read_run(find(store, "raft", second.name)).values() for row in t.to_pylist()
    ]
    assert "18 euros" not in str(rows) and "99 euros" in str(rows)
    assert champions(store)["reading"] == "support-v2"
    report = read_file(find(store, "refresh", second.name), "report.md").decode()
    assert "support-v2 was promoted" in report and "| feedback | raft | 1 |" in report


@pytest.mark.slow
def test_drift_and_erasure_after_a_deletion(store, config):
    seen = documents_seen(find(store, "adapter", "support-v2"))
    assert {"fees/Hue.md", "fees/Vinh.md"} <= seen and "hr.md" not in seen
    change(store, fee("Porto", 77), removed=["fees/Vinh.md"])
    drift = measure_drift(store)
    (champion,) = [a for a in drift.adapters if a.champion_of]
    assert champion.adapter_id == "support-v2" and champion.forgotten == ["fees/Vinh.md"]
    assert champion.changed_chunks == 1 and champion.removed_chunks == 1
    lines = advice(drift, DriftConfig(changed_share=0.05))
    assert any("refresh --erase" in line and "fees/Vinh.md" in line for line in lines)
    assert any("of the chunks are new or changed" in line for line in lines)
    shown = CliRunner().invoke(build_app(), ["drift", "--store", store])
    assert shown.exit_code == 0 and "refresh --erase" in shown.stdout

    killed = Staging(store, "killed")
    killed.add({"chunk_id": "fees/Vinh.md#0", "quote": "25 euros"})
    killed.flush()
    erased = erase_deleted(store, config, "support", HOLDOUT)
    assert erased.documents == ["fees/Vinh.md"] and "raft/.unfinished" in erased.leftovers
    assert set(erased.adapters) == {"support-v1", "support-v2"}
    assert erased.feedback == 1 and read_feedback(store)[0] == []
    (left,) = listing(store, "adapter")
    assert left.artifact_id == "support-v3" and champions(store)["reading"] == "support-v3"
    assert read_manifest(left).config["start_from"] is None
    assert "fees/Vinh.md" not in documents_seen(left)
    everything = [p for p in Path(store).rglob("*") if p.is_file() and "/kb/" not in str(p)]
    for path in everything:
        if path.suffix in (".json", ".md", ".jsonl"):
            assert "25 euros" not in path.read_text(), path
    for run in listing(store, "raft"):
        assert all("Vinh" not in json.dumps(t.to_pylist()) for t in read_run(run).values())
    assert "Nothing to erase" in erase_deleted(store, config, "support").lines()[0]


def test_wrong_settings_are_said_before_anything_is_written(store, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(build_app(), ["refresh", "--name", "s", *arguments])

    assert "5x" in run("--store", store, "--every", "5x").stderr
    assert "max_los" in run("--store", store, "gate.max_los=1").stderr
    missing = run("--store", str(tmp_path / "none"))
    assert missing.exit_code != 0 and "no knowledge base" in missing.stderr
