import math
from dataclasses import dataclass

import pytest

from rayraft.errors import InputError, NotFoundError
from rayraft.prompts import completion
from rayraft.protocols import AdapterRef
from rayraft.records import Passage, Question
from train.answerer import Answerer, AskSettings
from train.evaluate_config import EvaluateConfig, parse_modes


@dataclass
class Output:
    text: str
    prompt_tokens: int = 7
    completion_tokens: int = 3


class KnowingModel:
    """Answers with the name of the adapter it was called with; keeps its prompts."""

    def __init__(self):
        self.calls = []

    def generate(self, prompts, *, adapter=None, max_new_tokens=96):
        self.calls.append((prompts[0][-1]["content"], adapter, max_new_tokens))
        return [Output(completion("", "" if adapter == "silent-v1" else f"by {adapter}"))]

    def generate_combined(self, views, combine, *, max_new_tokens=96):
        self.combined = (views, combine)
        return Output(completion("", "by both"))


class ListRetriever:
    """All passages in a fixed order, filtered by document and group."""

    version = 5

    def __init__(self):
        self.groups = []
        self.passages = [
            Passage(chunk_id=f"c{i}", document_id=f"d{i // 2}", text=f"text {i}", dense_score=0.9)
            for i in range(20)
        ]

    def search(self, queries, k, *, where=None, groups=()):
        self.groups.append(groups)
        wanted = (where or {}).get("document_id")
        found = [p for p in self.passages if wanted is None or p.document_id in wanted]
        return [found[:k] for _ in queries]


QUESTION = Question(
    id="1", question="Who did it?", answers=["by raft-v2"], gold_ids=["d1", "d9"], groups=["hr"]
)


def answered(mode, question=QUESTION, **settings):
    model, retriever = KnowingModel(), ListRetriever()
    given = {"adapter": AdapterRef("raft-v2", 5), "closed_book_adapter": AdapterRef("cb-v1", 5)}
    row = Answerer(retriever, model, AskSettings(**{**given, **settings})).row(question, mode)
    return row, model, retriever


@pytest.mark.parametrize(
    ("mode", "adapter", "exact", "recall", "shown"),
    [
        ("closed_book", "cb-v1", 0.0, None, 0),
        ("rag", None, 0.0, 0.5, 4),
        ("raft", "raft-v2", 1.0, 0.5, 4),
        ("auto", "raft-v2", 1.0, 0.5, 4),
    ],
)
def test_each_mode_uses_its_weights_and_its_passages(mode, adapter, exact, recall, shown):
    row, model, _ = answered(mode)
    assert (row.mode, row.adapter, row.exact_match, row.recall_at_k) == (
        mode,
        adapter,
        exact,
        recall,
    )
    assert len(row.passage_ids) == shown
    ((content, used, _),) = model.calls
    assert used == adapter
    assert content.count("<document ") == shown
    assert row.prompt_tokens == 7
    assert row.latency_ms >= row.retrieve_ms + row.generate_ms - 0.01


@pytest.mark.parametrize(
    ("mode", "adapters", "shown"),
    [
        ("blend", ["cb-v1", None], [0, 4]),
        ("rag_token", [None] * 4, [1] * 4),
        ("rag_sequence", [None] * 4, [1] * 4),
    ],
)
def test_combined_modes_ask_the_model_once_with_all_views(mode, adapters, shown):
    row, model, _ = answered(mode)
    views, combine = model.combined
    assert [view.adapter for view in views] == adapters
    assert [view.messages[-1]["content"].count("<document ") for view in views] == shown
    assert sum(view.weight for view in views) == pytest.approx(1)
    assert (combine, row.answered_by, row.adapter) == (mode, mode, adapters[0])
    assert (row.prediction, row.recall_at_k, model.calls) == ("by both", 0.5, [])


def test_closed_book_without_an_adapter_is_the_base_model():
    row, model, retriever = answered("closed_book", closed_book_adapter=None)
    assert (row.adapter, row.kb_version, retriever.groups) == (None, None, [])
    assert model.calls[0][1] is None


def test_groups_of_the_question_reach_the_retriever():
    assert answered("rag")[2].groups == [("hr",)]


def test_unanswerable_is_right_when_the_model_abstains():
    question = QUESTION.model_copy(update={"answers": [], "gold_ids": []})
    row, _, _ = answered("raft", question, adapter=AdapterRef("silent-v1", 5))
    assert (row.abstained, row.exact_match, row.prediction, row.recall_at_k) == (
        True,
        1.0,
        "",
        None,
    )
    assert answered("raft", question)[0].exact_match == 0.0


def test_raft_without_an_adapter_is_refused():
    with pytest.raises(NotFoundError, match="needs an adapter"):
        answered("raft", adapter=None)


def test_golden_shows_the_golden_documents_and_hard_distractors():
    row, _, _ = answered("golden", k=3, golden_distractors=2)
    assert sorted(row.passage_ids) == ["c0", "c1", "c18", "c2", "c3"]
    assert (row.recall_at_k, row.adapter, row.answered_by) == (None, None, "rag")
    assert answered("golden", k=3, golden_distractors=2)[0].passage_ids == row.passage_ids
    assert sorted(answered("golden", k=4)[0].passage_ids) == ["c18", "c19", "c2", "c3"]


def test_golden_of_an_unanswerable_question_shows_what_was_retrieved():
    question = QUESTION.model_copy(update={"answers": [], "gold_ids": []})
    assert sorted(answered("golden", question, k=2)[0].passage_ids) == ["c0", "c1"]


def test_modes_are_a_list_without_repetition():
    assert parse_modes("rag, raft,rag") == ("rag", "raft")
    with pytest.raises(NotFoundError, match=r"mode 'rga' does not exist; modes: closed_book, rag"):
        parse_modes("rag,rga")
    with pytest.raises(InputError, match="none given"):
        parse_modes(" , ")
    assert EvaluateConfig().modes == ("closed_book", "rag", "raft", "auto")


def test_mode_search_scores_what_is_found_and_asks_no_model():
    row, model, retriever = answered("search", k=4)
    assert (row.recall_at_k, row.exact_match, row.token_f1) == (0.5, None, None)
    gain = 1 / math.log2(3)  # d1 is the second document; d9 is not among the first ten passages
    assert row.ndcg_at_10 == pytest.approx(gain / (1 + gain))
    assert row.passage_ids == [f"c{i}" for i in range(10)]
    assert (row.answered_by, row.kb_version, model.calls) == ("search", 5, [])
    assert retriever.groups == [("hr",)]
