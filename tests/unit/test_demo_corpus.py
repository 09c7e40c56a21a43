import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayraft.demo.corpus import (
    SHOWN,
    changed_facts,
    edited_document,
    edited_fact,
    find_corpus,
    known_questions,
    other_answer,
    validation_questions,
)
from rayraft.errors import InputError, NotFoundError
from rayraft.questions import read_questions, sample_questions
from rayraft.records import Question


def question(number: int, kind: str = "", answer: str = "blue") -> Question:
    return Question(
        id=f"q{number:02}", question="?", answers=[answer], gold_ids=["d.md"], kind=kind
    )


@pytest.mark.parametrize(
    ("answer", "changed"),
    [("35 days", "38 days"), ("2.09", "2.12"), ("98", "101"), ("E08", "E11")],
)
def test_a_number_is_raised_and_keeps_its_width(answer: str, changed: str):
    assert other_answer(answer, ["red"]) == changed


def test_a_word_becomes_somebody_elses_answer_that_does_not_contain_it():
    assert other_answer("Hanoi", ["Hanoi", "hanoi west", "7 days", "Hue"]) == "Hue"
    assert other_answer("Hanoi", ["Hanoi", "12"]) is None


def test_an_edit_changes_the_answer_in_its_sentence_and_nothing_else():
    text = "It costs 5 euros. Returns take 5 days. Wait 5 days."
    edit = edited_fact(question(1, answer="5"), "Returns take 5 days.", text, [])

    assert edit
    assert edit.text == "It costs 5 euros. Returns take 8 days. Wait 5 days."
    assert (edit.before, edit.after) == (["5"], ["8"])
    assert edit.as_question().answers == ["8"]


@pytest.mark.parametrize("quote", ["Not in the text: 5.", "It is free."])
def test_no_edit_where_quote_or_answer_is_not_in_the_text(quote: str):
    assert edited_fact(question(1, answer="5"), quote, "It is free. It lasts 5 days.", []) is None


def write_update(folder: Path, rows: list[dict[str, object]]) -> Path:
    row = {"question": "Q", "answers": ["30 days"], "answers_before": ["fourteen days", "14 days"]}
    lines = [
        json.dumps(row | {"gold_ids": ["d"], "gold_ids_before": ["d"], "change": "changed"} | more)
        for more in rows
    ]
    (folder / "questions.jsonl").write_text("\n".join(lines))
    return folder


def test_only_changed_facts_that_everybody_may_read_and_that_have_an_answer_count(tmp_path: Path):
    kinds: list[dict[str, object]] = [
        {"change": "appeared"},
        {"groups": ["legal"]},
        {"answers": []},
        {},
        {"gold_ids": ["e"]},
    ]
    update = write_update(tmp_path, [{"id": str(i), **more} for i, more in enumerate(kinds)])

    assert [fact.question.id for fact in changed_facts(update)] == ["3"]


def test_the_chosen_fact_comes_first(tmp_path: Path):
    update = write_update(tmp_path, [{"id": name} for name in ("a", SHOWN, "b")])

    assert [fact.question.id for fact in changed_facts(update)] == [SHOWN, "a", "b"]


def test_an_edited_document_has_the_new_answer_in_place_of_the_old_one(tmp_path: Path):
    [fact] = changed_facts(write_update(tmp_path, [{"id": "a"}]))

    edit = edited_document(fact, "Kept for 14 days.")

    assert edit
    assert (edit.document_id, edit.text) == ("d", "Kept for 30 days.")
    assert edited_document(fact, "Kept for two weeks.") is None


def write_validation(folder: Path, rows: list[dict[str, str]]) -> None:
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "validation.parquet")


def test_validation_questions_are_the_answerable_rows(tmp_path: Path):
    row = {"example_id": "1", "question": "Q", "answer": "A", "document_id": "d", "quote": "A."}
    write_validation(tmp_path / "run", [row, row | {"example_id": "2", "answer": "", "quote": ""}])

    [(found, quote)] = validation_questions(tmp_path)

    assert (found.id, found.answers, found.gold_ids, quote) == ("1", ["A"], ["d"], "A.")


def test_no_validation_question_is_an_error_that_names_the_folder(tmp_path: Path):
    with pytest.raises(InputError, match=str(tmp_path)):
        validation_questions(tmp_path)


def test_a_missing_data_folder_is_named(tmp_path: Path):
    with pytest.raises(NotFoundError, match="absent"):
        find_corpus(tmp_path / "absent")


def test_the_example_corpus_brings_questions_and_an_update():
    corpus = find_corpus(None)

    assert corpus.questions
    assert corpus.updates
    assert len(read_questions(corpus.questions)) >= 300
    assert changed_facts(corpus.updates)[0].question.id == SHOWN


def test_what_is_known_before_an_update_has_old_answers_and_nothing_that_will_be_asked():
    corpus = find_corpus(None)
    assert corpus.questions is not None and corpus.updates is not None
    everything = read_questions(corpus.questions)
    facts = changed_facts(corpus.updates)
    will_change = {fact.question.question for fact in facts}
    asked = sample_questions([q for q in everything if q.question not in will_change], 80, 0)
    known = known_questions(everything, asked, facts)
    texts = [question.question for question in known]
    assert len(set(texts)) == len(texts) and will_change <= set(texts)
    assert not {question.question for question in asked} & set(texts)
    by_text = {question.question: question for question in known}
    for fact in facts:
        assert by_text[fact.question.question].answers == list(fact.before)
        assert set(fact.before).isdisjoint(fact.question.answers)
    assert all(question.answers for question in known)

    fewer = known_questions(everything, asked, facts, share=0.3)
    assert len(fewer) == round(0.3 * len(known))
    assert will_change <= {question.question for question in fewer}
    assert {question.id for question in fewer} <= {question.id for question in known}
