"""Hard negatives for the reranker, mined with a real retriever."""

import pytest

from data_pipelines.kb import KnowledgeBase
from data_pipelines.retrieval import HybridRetriever
from rayraft.mini.tokenizer import build_pair_tokenizer
from rayraft.records import Passage, Question
from tests.ray.random_kb import random_kb, retriever
from train.rerank_rows import Mining, RankRow, holds_answer, mine, rank_features

SETTINGS = Mining(candidates=30, negatives=5, seed=0)


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    return random_kb(str(tmp_path_factory.mktemp("kb")))


@pytest.fixture(scope="module")
def searcher(kb: KnowledgeBase) -> HybridRetriever:
    return retriever(kb, candidates=30)


@pytest.fixture(scope="module")
def golden(kb: KnowledgeBase) -> dict[str, list[Passage]]:
    return kb.passages_by_document()


@pytest.fixture(scope="module")
def questions(golden: dict[str, list[Passage]]) -> list[Question]:
    """About twenty documents, each answered by its own last word and by one that others hold."""
    made = []
    for number in range(20):
        chunk = golden[f"d{number}"][-1]
        words = chunk.text.split()
        answers = [words[-1]] if number % 2 else [words[-1], "oil"]
        made.append(
            Question(
                id=f"q{number}",
                question=" ".join(words[:4]),
                answers=answers,
                gold_ids=[f"d{number}"],
            )
        )
    return made


def test_negatives_are_hits_that_neither_are_golden_nor_hold_an_answer(
    questions: list[Question], searcher: HybridRetriever, golden: dict[str, list[Passage]]
) -> None:
    rows = list(mine(questions, searcher, golden, SETTINGS))
    assert [row.question for row in rows] == [question.question for question in questions]
    for question, row in zip(questions, rows, strict=True):
        own = {f"{p.title}\n{p.text}" for p in golden[question.gold_ids[0]]}
        assert row.passages[row.label] in own
        hits = {f"{p.title}\n{p.text}" for p in searcher.search([question.question], 30)[0]}
        others = [text for i, text in enumerate(row.passages) if i != row.label]
        assert 1 <= len(others) == len(set(others)) <= SETTINGS.negatives
        assert set(others) <= hits - own
        for text in others:
            assert not any(answer in text.split("\n", 1)[1] for answer in question.answers)
    assert len({row.label for row in rows}) > 2


def test_a_row_depends_on_seed_and_question_alone(
    questions: list[Question], searcher: HybridRetriever, golden: dict[str, list[Passage]]
) -> None:
    rows = list(mine(questions, searcher, golden, SETTINGS))
    assert list(mine(questions[7:9], searcher, golden, SETTINGS)) == rows[7:9]
    other = Mining(candidates=30, negatives=5, seed=1)
    assert list(mine(questions, searcher, golden, other)) != rows


def test_the_golden_passage_is_the_chunk_that_holds_the_answer(searcher: HybridRetriever) -> None:
    chunks = [
        Passage(chunk_id=f"x#{i}", document_id="x", title="T", text=text)
        for i, text in enumerate(["the oil", "the u77 answer", "a lake"])
    ]
    question = Question(id="q", question="bird stone", answers=["U77"], gold_ids=["x"])
    (row,) = mine([question], searcher, {"x": chunks}, SETTINGS)
    assert row.passages[row.label] == "T\nthe u77 answer"
    assert holds_answer(chunks[1], question) and not holds_answer(chunks[0], question)
    unknown = question.model_copy(update={"gold_ids": []})
    assert list(mine([unknown], searcher, {"x": chunks}, SETTINGS)) == []


def test_features_are_segments_and_the_number_of_the_right_one() -> None:
    tokenizer = build_pair_tokenizer()
    row = RankRow("Who?", ["He.", "She " * 90], 1)
    (made,) = rank_features([row], tokenizer, max_tokens=40).to_pylist()
    assert made["labels"] == [1]
    text = str(tokenizer.decode(made["input_ids"]))
    assert text.count("[CLS]") == 2 and text.startswith("[CLS] who? [SEP] he. [SEP] [CLS] who?")
    assert len(made["input_ids"]) == len(tokenizer("Who?", "He.")["input_ids"]) + 40
