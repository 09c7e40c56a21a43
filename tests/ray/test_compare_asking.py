"""Every arm over a real knowledge base, with a writer in the model's place: no weights."""

from types import SimpleNamespace

import pytest

from data_pipelines.ingest import ingest_documents
from data_pipelines.kb import KnowledgeBase
from data_pipelines.retrieval import HybridRetriever
from rayraft.prompts import completion
from rayraft.records import Document, Question
from tests.ray.hash_embedder import HashEmbedder
from tests.ray.raft_store import documents
from train.compare.ages import question_ages
from train.compare.arms import ARMS
from train.compare.asking import Asker, Desk
from train.compare.rows import Task
from train.compare.workspace import copy_store, mark_whole
from train.evaluate_config import EvaluateConfig

ASKED = Question(
    id="1",
    question="What is the parcel fee in Oslo?",
    answers=["32 euros"],
    gold_ids=["fees/Oslo.md"],
)
QUOTED = completion("The parcel fee in Oslo is 32 euros for every customer.", "32 euros")


class FakeWriter:
    """Always says the same."""

    def generate(self, prompts, *, adapter=None, max_new_tokens=96):
        return [self._said() for _ in prompts]

    def generate_combined(self, views, combine, *, max_new_tokens=96):
        return self._said()

    def _said(self):
        return SimpleNamespace(text=QUOTED, prompt_tokens=5, completion_tokens=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("store"))
    embedder = HashEmbedder()
    kb = KnowledgeBase.create_or_open(folder, embedder.spec)
    ingest_documents(documents(), kb, embedder)
    return folder


def desk_of(store):
    return Desk(store, KnowledgeBase.open(store).version, {}, EvaluateConfig(), ("7 euros",))


@pytest.fixture(scope="module")
def ask(store):
    retriever = HybridRetriever(KnowledgeBase.open(store), HashEmbedder())
    return Asker(desk_of(store), retriever, FakeWriter()).row


@pytest.mark.parametrize("arm", [a for a in ARMS if a.mode != "raft"], ids=lambda arm: arm.name)
def test_an_arm_shows_passages_if_it_says_so_and_quotes_only_what_it_showed(ask, arm):
    row = ask(Task(arm=arm.name, question=ASKED))
    assert row.exact_match == 1.0
    assert bool(row.documents) == arm.retrieves
    assert row.supported == arm.retrieves
    assert row.recall_at_k == (1.0 if arm.retrieves else None)
    assert row.timings_ms["total"] > 0 and row.memory_mb > 0


def test_search_ranks_without_answering(ask):
    row = ask(Task(arm="search", question=ASKED))
    assert row.exact_match is None
    assert len(row.documents) == 10  # all that everybody may read
    assert 0 < row.reciprocal_rank <= 1 and 0 < row.ndcg_at_10 <= 1


def test_conditions_decide_what_is_shown(ask):
    shown = {
        condition: ask(Task(arm="rag", question=ASKED, condition=condition)).documents
        for condition in ("absent", "contradicting", "distractors-2", "golden")
    }
    assert "fees/Oslo.md" not in shown["absent"] and len(shown["absent"]) == 4
    assert shown["contradicting"] == ["fees/Oslo.md"] * 2
    assert sorted(shown["distractors-2"]).count("fees/Oslo.md") == 1
    assert len(shown["distractors-2"]) == 3
    assert shown["golden"] == ["fees/Oslo.md"]


def test_a_key_changes_with_what_decides_the_answer_and_with_nothing_else(store):
    desk, task = desk_of(store), Task(arm="rag", question=ASKED)
    other = Desk(store, desk.kb_version + 1, {}, desk.config)
    more = desk.config.model_copy(update={"k": 5})
    actors = desk.config.model_copy(update={"actors": 3, "modes": ("rag",)})
    keys = [
        desk.key(task),
        other.key(task),
        Desk(store, desk.kb_version, {}, more).key(task),
        desk.key(task.model_copy(update={"arm": "base"})),
        desk.key(task.model_copy(update={"condition": "absent"})),
    ]
    assert len(set(keys)) == len(keys)
    assert Desk(store, desk.kb_version, {}, actors).key(task) == keys[0]


def test_questions_are_as_old_as_the_newest_of_their_documents(store):
    copy = copy_store(store, store, "aged", ("kb",))[0]
    kb = KnowledgeBase.open(copy)
    dates = {"a": "2024-05-01", "b": "2025-02-01", "c": None}
    aged = [
        Document(document_id=i, text=f"Text {i}.", metadata={"date": date} if date else {})
        for i, date in dates.items()
    ]
    ingest_documents(aged, kb, HashEmbedder())
    golden = {"old": ["a"], "both": ["a", "b"], "undated": ["c"], "none": []}
    asked = [Question(id=i, question="?", answers=["x"], gold_ids=g) for i, g in golden.items()]
    found = question_ages(kb, asked, "date")
    both = "2024-05-01 to 2025-02-01"  # too few questions for two groups
    assert (found.by, found.groups) == ("date", [both, "no date"])
    assert found.group_of == {"old": both, "both": both, "undated": "no date"}
    by_version = question_ages(kb, [*asked, ASKED], "no such field")
    assert by_version.by == "version" and len(by_version.groups) == 1
    oldest, newest = map(int, by_version.group_of["1"].split(" to "))
    assert oldest < newest <= kb.version  # some versions are of the index alone


def test_a_copy_is_made_once_and_writing_into_it_leaves_the_store_as_it_was(store):
    before = KnowledgeBase.open(store).version
    copy, is_new = copy_store(store, store, "copy", ("kb", "adapters"))
    assert is_new
    mark_whole(copy)
    kb = KnowledgeBase.open(copy)
    kb.commit(kb.read_chunks(where="false"), ["fees/Oslo.md"])
    assert copy_store(store, store, "copy", ("kb",)) == (copy, False)
    assert "fees/Oslo.md" not in KnowledgeBase.open(copy).document_hashes()
    assert "fees/Oslo.md" in KnowledgeBase.open(store).document_hashes()
    assert KnowledgeBase.open(store).version == before


def test_a_copy_that_was_killed_is_made_anew(store):
    copy_store(store, store, "killed", ("kb",))
    _, is_new = copy_store(store, store, "killed", ("kb",))
    assert is_new
