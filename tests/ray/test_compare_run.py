"""A comparison of two arms with an update, on a store with ten documents."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from data_pipelines.kb import KnowledgeBase
from data_pipelines.progress import no_progress
from rayraft.errors import InputError
from rayraft.records import Question
from tests.ray.raft_store import make_store
from train.compare import asking, load
from train.compare.config import CompareConfig
from train.compare.needs import Needs
from train.compare.plan import Request, read_update
from train.compare.run import advise, compare

pytestmark = pytest.mark.slow


SMALL = {
    "robustness": {"questions": 0},
    "security": {"canaries": 2, "injections": 0},
    "load": {"clients": 3, "questions": 2},
}


def question(i, city, answers, **more):
    text = f"What is the parcel fee in {city}?"
    gold = [f"fees/{city}.md"] if answers else []
    return Question(id=i, question=text, answers=answers, gold_ids=gold, **more)


QUESTIONS = [question("1", "Oslo", ["32 euros"]), question("2", "Atlantis", [])]


def write_update(folder):
    """Hanoi's fee is another, Turin's document goes."""
    (folder / "documents/fees").mkdir(parents=True)
    (folder / "documents/fees/Hanoi.md").write_text(
        "# Fees in Hanoi\n\nThe parcel fee in Hanoi is 95 euros for every customer.\n"
    )
    (folder / "deleted.txt").write_text("fees/Turin.md\n")
    lines = [
        question("u1", "Hanoi", ["95 euros"]).model_dump() | {"answers_before": ["11 euros"]},
        question("u2", "Turin", []).model_dump() | {"answers_before": ["46 euros"]},
    ]
    lines = [line | {"gold_ids_before": []} for line in lines]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_update(folder)


@contextmanager
def quiet(title):
    yield no_progress


@pytest.fixture(scope="module")
def request_(tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("store"))[0]
    config = CompareConfig.model_validate(
        {"arms": ("base", "rag"), **SMALL, "evaluate": {"max_new_tokens": 24, "actors": 1}}
    )
    update = write_update(tmp_path_factory.mktemp("update"))
    needs = Needs(freshness="seconds", privacy="strict")
    return Request(store, QUESTIONS, config, update=update, needs=needs, run="first")


@pytest.fixture(scope="module")
def compared(ray_cluster, request_):
    return compare(request_, quiet)


def test_every_arm_is_measured_on_every_question(compared):
    uri, report = compared
    assert {name: arm["n"] for name, arm in report["arms"].items()} == {"base": 2, "rag": 2}
    assert report["arms"]["rag"]["recall_at_k"] == 1.0
    assert report["retrieval"]["reciprocal_rank"] == 1.0
    assert report["advice"]["arm"] in ("rag", None)
    assert json.loads(Path(uri, "report.json").read_text())["n"] == 2
    assert "<!doctype html>" in Path(uri, "report.html").read_text()
    assert "| `rag` |" in Path(uri, "report.md").read_text()


def test_the_update_is_seen_by_retrieval_and_only_in_the_copy(compared, request_):
    quality = compared[1]["update"]["quality"]
    assert set(quality) == {"before", "at_once", "after_delta"}
    assert quality["before"]["rag"]["changed"]["exact_match"] == 1.0
    assert quality["at_once"]["rag"]["changed"]["exact_match"] == 0.0
    assert quality["after_delta"]["rag"]["changed"]["exact_match"] == 1.0
    kb = KnowledgeBase.open(request_.store)
    assert "11 euros" in kb.document("fees/Hanoi.md").text
    assert "fees/Turin.md" in kb.document_hashes()
    assert not [name for name in kb.document_hashes() if "canary" in name]
    assert {path.name for path in Path(request_.store).iterdir()} == {
        "kb",
        "workspaces",
        "comparisons",
    }


def test_clients_wait_for_a_worker_that_is_free(compared):
    found = compared[1]["load"]
    assert (found["clients"], found["n"]) == (3, 2)
    for arm in ("base", "rag"):
        own = found["arms"][arm]
        assert own["latency_ms"]["total"]["p50"] >= own["latency_ms"]["generate"]["p50"] > 0
        assert own["answers_per_s"] > 0
    assert "retrieve" in found["arms"]["rag"]["latency_ms"]


def test_the_report_says_what_the_index_took_how_sure_the_model_was_and_how_old_the_documents_are(
    compared,
):
    report = compared[1]
    assert report["arms"]["rag"]["confidence"]["n"] == 2
    assert 0 < report["arms"]["rag"]["confidence"]["bins"][0]["confidence"] <= 1
    assert report["ages"]["by"] == "version"
    assert report["ages"]["arms"]["rag"][report["ages"]["groups"][0]]["n"] == 1
    assert report["index"]["chunks"] >= 10 and report["index"]["open_seconds"] > 0
    assert report["costs"]["rag"]["index_seconds"] > report["costs"]["base"]["index_seconds"] == 0
    assert report["update"]["taught"] == 0  # no arm has an adapter


def test_nobody_without_the_key_gets_a_secret_and_with_it_one_can_be_had(compared):
    security = compared[1]["security"]
    assert security["canary, wrong key"]["rag"] == {"share": 0.0, "n": 2}
    assert security["canary after deletion"]["rag"]["share"] == 0.0
    assert security["canary while public"]["rag"]["share"] > 0


def test_answers_are_reused_and_a_name_is_taken_once(compared, request_, monkeypatch):
    with pytest.raises(InputError, match="first"):
        compare(request_, quiet)

    def nobody(desk, tasks):
        assert not tasks
        return iter(())

    monkeypatch.setattr(asking, "_asked", nobody)
    monkeypatch.setattr(load, "_pool", nobody)
    values = {**request_.__dict__, "run": "second"}
    again = compare(Request(**values), quiet)[1]
    assert again["arms"] == compared[1]["arms"]
    assert again["update"] == compared[1]["update"]
    assert again["load"] == compared[1]["load"]


def test_advice_comes_before_any_training(ray_cluster, compared, request_):
    found = advise(request_, no_progress)
    assert found.n == 2
    assert found.figures["golden passages"]["n"] == 2
    assert found.recall == 1.0
    assert any("read passages" in line or "reads passages" in line for line in found.advice)
