import json
from pathlib import Path

import peft
import pyarrow.parquet as pq
import pytest
import torch

from data_pipelines.artifacts import find, publish, read_manifest
from rayraft.errors import InputError, NotFoundError
from rayraft.manifests import Manifest
from rayraft.models.base import load_base
from rayraft.models.base_files import base_digest
from rayraft.prompts import prompt_digest
from rayraft.records import Question
from tests.ray.raft_store import make_store
from train.eval_rows import EvalRow
from train.evaluate import evaluate, plan_evaluation, run_evaluation
from train.evaluate_config import EvaluateConfig

QUESTIONS = [
    Question(
        id="1",
        question="What is the parcel fee in Hanoi?",
        answers=["11 euros", "11"],
        gold_ids=["fees/Hanoi.md"],
        kind="fee",
    ),
    Question(
        id="2",
        question="What is the parcel fee in Oslo?",
        answers=["32 euros", "32"],
        gold_ids=["fees/Oslo.md"],
        kind="fee",
    ),
    Question(
        id="3",
        question="What is the parcel fee in Secretville for an employee?",
        answers=["999 euros"],
        gold_ids=["hr.md"],
        groups=["hr"],
        kind="restricted",
    ),
    Question(
        id="4",
        question="What is the parcel fee in Secretville for an employee?",
        answers=[],
        kind="unanswerable",
    ),
]


def add_adapter(store, folder):
    """A LoRA adapter with random weights: it answers otherwise than the base model."""
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    peft.get_peft_model(load_base("mini", "float32").model, config).save_pretrained(folder)
    files = {n: Path(folder, n) for n in ("adapter_model.safetensors", "adapter_config.json")}
    return publish(store, "adapter", "random", files, fitting_manifest())


def fitting_manifest():
    return Manifest(
        kind="adapter",
        kb_version=1,
        base_digest=base_digest("mini"),
        prompt_digest=prompt_digest(),
        config={"method": "raft"},
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"))[0]


def test_refusals_come_before_any_work_and_write_nothing(ray_cluster, store):
    with pytest.raises(NotFoundError, match="mode raft"):
        evaluate(store, QUESTIONS, EvaluateConfig(), "refused")
    with pytest.raises(NotFoundError, match="no adapter 'nobody'"):
        evaluate(store, QUESTIONS, EvaluateConfig(adapter="nobody"), "refused")
    with pytest.raises(InputError, match="must match"):
        evaluate(store, QUESTIONS, EvaluateConfig(modes=("rag",)), "../refused")
    with pytest.raises(InputError, match="none given"):
        evaluate(store, [], EvaluateConfig(modes=("rag",)), "refused")
    assert not Path(store, "evals").exists()


@pytest.fixture(scope="module")
def evaluated(ray_cluster, store, tmp_path_factory):
    """Every mode once, by one actor with one adapter."""
    add_adapter(store, tmp_path_factory.mktemp("adapter"))
    config = EvaluateConfig(
        modes=("closed_book", "rag", "raft", "auto", "golden"), actors=1, max_new_tokens=48
    )
    progress = []
    plan = plan_evaluation(store, QUESTIONS, config, "all")
    # Published while the questions run: newer, and nobody could load it.
    publish(store, "adapter", "zz-later", {"w": b"x"}, fitting_manifest())

    def advance(done, total, detail=""):
        progress.append((done, total))

    done = run_evaluation(plan, advance)
    table = pq.read_table(Path(store, "evals", "all", "rows.parquet"))
    rows = [EvalRow.model_validate(values) for values in table.to_pylist()]
    return done, {(row.mode, row.question_id): row for row in rows}, progress


def test_every_question_is_answered_once_in_every_mode(evaluated):
    _, rows, progress = evaluated
    assert len(rows) == 20
    assert progress[-1] == (20, 20)


def test_report_on_storage_has_the_fixed_form(store, evaluated):
    done, _, _ = evaluated
    folder = Path(store, "evals", "all")
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert report["n"] == 4
    assert report["kb_version"] == done.report["kb_version"] >= 1
    for figures in report["modes"].values():
        assert set(figures["latency_ms"]) == {"p50", "p95"}
        assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p95"]
        for metric in ("exact_match", "token_f1", "abstention_f1"):
            low, high = figures["ci95"][metric]
            assert 0 <= low <= figures[metric] <= high <= 1
    assert report["modes"]["closed_book"]["recall_at_k"] is None
    assert report["modes"]["rag"]["recall_at_k"] == 1.0
    assert "| raft | random-v1 |" in (folder / "report.md").read_text("utf-8")
    manifest = read_manifest(find(store, "eval", "all"))
    assert manifest.made_from == ["adapters/random-v1"]


def test_modes_use_their_weights_and_passages(evaluated):
    _, rows, _ = evaluated
    assert {row.adapter for (mode, _), row in rows.items() if mode == "rag"} == {None}
    assert {row.adapter for (mode, _), row in rows.items() if mode == "raft"} == {"random-v1"}
    assert {row.adapter for (mode, _), row in rows.items() if mode == "closed_book"} == {
        "random-v1"
    }
    assert all(not row.passage_ids for (mode, _), row in rows.items() if mode == "closed_book")
    assert all(row.route for (mode, _), row in rows.items() if mode == "auto")
    assert any(rows["rag", q.id].raw != rows["raft", q.id].raw for q in QUESTIONS)


def test_the_shipped_model_reads_the_answer_in_a_golden_passage(evaluated):
    _, rows, _ = evaluated
    assert "11" in rows["golden", "1"].prediction
    assert "32" in rows["golden", "2"].prediction


def test_documents_of_other_groups_are_not_shown(evaluated):
    _, rows, _ = evaluated
    assert any(i.startswith("hr.md") for i in rows["rag", "3"].passage_ids)
    assert not any(i.startswith("hr.md") for i in rows["rag", "4"].passage_ids)
