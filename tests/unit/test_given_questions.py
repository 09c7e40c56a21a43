"""People's questions as RAFT examples: which chunk answers, and with which quote."""

import pytest

from data_pipelines.given_questions import given_identity, place_questions
from data_pipelines.teachers import HandedOut, TeacherRequest
from rayraft.records import Passage, Question

TEXTS = {
    "rhine#0": "The Rhine is 1,230 km long. In 1974 a dam of 7 gates was built near Basel.",
    "rhine#1": "Basel lies on the Rhine. The city of Basel has 7 bridges\nover the river.",
    "oxygen#0": "Oxygen was found in 1774.",
}
CHUNKS: dict[str, list[Passage]] = {}
for chunk_id, text in TEXTS.items():
    document = chunk_id.partition("#")[0]
    passage = Passage(chunk_id=chunk_id, document_id=document, title=document, text=text)
    CHUNKS.setdefault(document, []).append(passage)


def ask(text: str, answers: list[str], gold: list[str], number: int = 0) -> Question:
    return Question(id=f"q{number}", question=text, answers=answers, gold_ids=gold)


@pytest.mark.parametrize(
    ("question", "answers", "chunk", "quote", "answer"),
    [
        # In the text's spelling, in the sentence that shares most words with the question.
        (
            "How many bridges has the city?",
            ["7"],
            "rhine#1",
            "The city of Basel has 7 bridges\nover the river.",
            "7",
        ),
        ("How many gates has the dam?", ["7"], "rhine#0", TEXTS["rhine#0"][28:], "7"),
        # Any alternative; white space and case may differ.
        (
            "What has Basel?",
            ["three", "7 BRIDGES over the river"],
            "rhine#1",
            "The city of Basel has 7 bridges\nover the river.",
            "7 bridges\nover the river",
        ),
    ],
)
def test_a_question_is_put_where_its_answer_stands(
    question: str, answers: list[str], chunk: str, quote: str, answer: str
):
    placed = place_questions([ask(question, answers, ["rhine"])], CHUNKS, 160)
    assert list(placed.written) == [chunk]
    (written,) = placed.written[chunk]
    assert (written.question, written.quote, written.answer) == (question, quote, answer)
    assert written.quote in TEXTS[chunk] and not placed.dropped


def test_what_cannot_be_placed_is_counted_with_its_reason():
    questions = [
        ask("Who?", [], ["rhine"], 1),
        ask("Who is it?", ["7"], ["nowhere"], 2),
        ask("Who was it?", ["7"], [], 3),
        ask("What year?", ["97"], ["rhine"], 4),  # part of a number is no answer
        ask("When was oxygen found?", ["1774"], ["oxygen"], 5),
        ask("when was Oxygen found", ["1774"], ["oxygen"], 6),
    ]
    placed = place_questions(questions, CHUNKS, 160)
    assert [w.question for w in placed.written["oxygen#0"]] == ["When was oxygen found?"]
    assert placed.dropped == {
        "no_answer_given": 1,
        "no_golden_document": 2,
        "answer_not_in_document": 1,
        "duplicate_question": 1,
    }


def test_a_question_without_an_answer_is_put_to_the_chunk_that_is_nearest():
    questions = [ask("Who built the dam?", [], [], 1), ask("Who is the mayor?", [], [], 2)]
    near = {"Who built the dam?": "rhine#0"}
    placed = place_questions(questions, CHUNKS, 160, near.get)
    (written,) = placed.written["rhine#0"]
    assert (written.question, written.answer, written.quotes) == ("Who built the dam?", "", [])
    assert placed.dropped == {"no_answer_given": 1}


def test_yes_and_no_need_not_stand_in_the_document():
    placed = place_questions([ask("Are there bridges in Basel?", ["yes"], ["rhine"])], CHUNKS, 160)
    (written,) = placed.written["rhine#1"]
    assert written.answer == "yes" and written.quote in TEXTS["rhine#1"]
    assert "Basel" in written.quote and not written.supports and not placed.dropped


def test_the_given_teacher_hands_out_all_questions_of_a_chunk():
    questions = [ask(f"Which number {i} is it?", ["7"], ["rhine"], i) for i in range(3)]
    placed = place_questions(questions, CHUNKS, 160)
    identity = given_identity(questions)
    teacher = HandedOut(identity, placed.results())
    requests = [
        TeacherRequest(chunk_id=i, title="", text=t, count=1, seed=0) for i, t in TEXTS.items()
    ]
    results = teacher.write(requests)
    assert sum(len(result.written) for result in results) == 3 and not results[2].written
    assert (teacher.name, teacher.digest) == (identity.name, identity.digest)
    assert given_identity(questions[:2]) != identity
