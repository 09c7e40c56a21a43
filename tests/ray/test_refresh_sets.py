"""The questions that champion and challenger are asked in a refresh."""

from typing import Literal

from data_pipelines.artifacts import ArtifactRef
from rayraft.records import Question, RaftExample
from tests.ray.raft_toy import toy_example
from train.refresh_examples import Examples, as_questions, draw, question_sets


def made() -> Examples:
    def some(start: int, split: Literal["train", "validation"]) -> list[RaftExample]:
        return [toy_example(i, split) for i in range(start, start + 6)]

    return Examples(
        run=ArtifactRef("s", "raft", "r"),
        changed=[*some(0, "train"), *some(10, "validation")],
        feedback=some(20, "train"),
        replayed=some(30, "train"),
        known=[*some(30, "train"), *some(40, "validation")],
    )


def test_a_reader_is_asked_about_documents_kept_out_of_training_first():
    sets = question_sets(made(), 4, by_heart=False)
    assert {e.split for e in sets["changed"]} == {e.split for e in sets["unchanged"]}
    assert {e.split for e in sets["changed"]} == {"validation"}
    wider = question_sets(made(), 8, by_heart=False)
    assert [e.split for e in wider["changed"]] == ["validation"] * 6 + ["train"] * 2
    assert {name: len(examples) for name, examples in wider.items()} == {
        "changed": 8,
        "feedback": 6,
        "unchanged": 6,
    }


def test_a_memory_is_asked_about_what_it_was_told():
    sets = question_sets(made(), 5, by_heart=True)
    assert {e.split for examples in sets.values() for e in examples} == {"train"}


def test_the_same_examples_are_drawn_whatever_their_order_and_more_of_them_are_a_superset():
    examples = made().known
    few, many = draw(examples, 4), draw(list(reversed(examples)), 9)
    assert many[:4] == few and len(many) == 9


def test_ids_are_unique_over_the_sets_and_kinds_are_their_names():
    one = made().changed[0]
    holdout = [Question(id=one.example_id, question="Q?", answers=["a"], groups=["hr"])]
    questions = as_questions({"changed": [one], "feedback": [one]}, ("staff",), holdout)
    assert [q.kind for q in questions] == ["changed", "feedback", "holdout"]
    assert len({q.id for q in questions}) == 3
    assert [q.groups for q in questions] == [["staff"], ["staff"], ["hr"]]
    assert questions[0].answers == [one.answer] and questions[0].gold_ids == [one.document_id]
