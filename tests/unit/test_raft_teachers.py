from dataclasses import dataclass

import pytest

from data_pipelines.local_teacher import LocalTeacher
from data_pipelines.question_checks import (
    clean_question,
    find_span,
    holds_answer,
    question_fault,
    says_twice,
)
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import TeacherRequest
from rayraft.prompts import completion

TEXT = (
    "The parcel fee in Hanoi is 15 euros for everybody. The goodwill desk opens on 3 January 2026. "
    "Batteries are never accepted by Northern Couriers. Every courier carries 20 kilograms at most."
)


@pytest.mark.parametrize(
    ("question", "fault"),
    [
        ("What is the parcel fee in Hanoi?", None),
        ("In which year did it open?", None),
        ("Is the desk open on Sundays?", None),
        ("What fee?", "question_too_short"),
        (" ".join(["what"] + [f"w{i}" for i in range(60)]), "question_too_long"),
        ("The parcel fee in Hanoi?", "no_question_word"),
        ("what is the coldhouse coldhouse fee?", "question_stutters"),
        ("what is the fee of the fee of the desk?", "question_stutters"),
        ("Is Northern Couriers older than Northern Couriers Hanoi?", None),
        ("when did it ##begin_quote## it opened?", "question_has_markers"),
        ("Who pays 15 Euros in Hanoi?", "question_holds_answer"),
    ],
)
def test_broken_questions_are_named_by_their_fault(question, fault):
    assert question_fault(question, "15 euros") == fault


@pytest.mark.parametrize(
    ("output", "question"),
    [
        ("what is it ?\nmore", "what is it?"),
        ('Question: "What  is it"', "What is it?"),
        ("What is it??", "What is it?"),
        ("what is britain ' s fee , in all ?", "what is britain's fee, in all?"),
        ("  \n", ""),
        ("", ""),
    ],
)
def test_an_output_is_cleaned_to_one_question(output, question):
    assert clean_question(output) == question


def test_answers_count_as_words_and_not_as_letters():
    assert holds_answer("It costs $15.", "15")
    assert not holds_answer("It costs 150 dollars", "15")
    assert not holds_answer("anything", "the")


def test_a_piece_is_found_whatever_its_case_and_line_breaks():
    text = "The Parcel\n  fee is 5."
    span = find_span(text, "the parcel fee")
    assert span is not None
    assert text[span.start : span.end] == "The Parcel\n  fee"
    assert find_span(text, "no such words") is None
    assert find_span(text, " ") is None


@dataclass
class Output:
    text: str
    mean_logprob: float | None = None


class ScriptedModel:
    """Writes a question that tells its answer by a code word, and reads it back.

    `faulty` maps an answer to what the model writes instead, `misread` to what it reads back;
    answers that it `knows` it tells without a document. From the alternative `learns` on it has no
    faults. It is `sure` of the questions for some answers.
    """

    base_digest = "scripted"

    def __init__(self, faulty=None, misread=None, knows=(), learns=None, sure=()):
        self.faulty, self.misread, self.knows = faulty or {}, misread or {}, knows
        self.learns, self.sure = learns, sure
        self.answers = {}
        self.batches = []

    def generate(self, prompts, *, max_new_tokens, alternative=0):
        self.batches.append(len(prompts))
        if alternative == self.learns:
            self.faulty = self.misread = {}
        written = [self._one(messages[-1]["content"]) for messages in prompts]
        return [Output(text, -1.0 + (self.answers.get(text) in self.sure)) for text in written]

    def _one(self, content):
        if "<document" not in content:
            answer = self.answers[content.removeprefix("Question: ")]
            return completion("", answer if answer in self.knows else "")
        if "Question: " in content:
            answer = self.answers[content.rsplit("Question: ", 1)[1]]
            return completion("", self.misread.get(answer, answer))
        answer = content.rsplit("Answer: ", 1)[1]
        question = self.faulty.get(answer, f"What is named code{len(self.answers)} here?")
        self.answers[question] = answer
        return question


def request(count=2, text=TEXT, chunk_id="c"):
    return TeacherRequest(chunk_id=chunk_id, title="Couriers", text=text, count=count, seed=0)


def test_every_written_question_has_a_verbatim_quote_that_holds_its_answer():
    (result,) = LocalTeacher(ScriptedModel(), TeacherConfig()).write([request(count=4)])
    assert len(result.written) == 4
    for written in result.written:
        assert written.quote in TEXT
        assert written.answer in written.quote
    assert len({written.quote for written in result.written}) == 4


def test_drops_are_counted_by_reason_and_nothing_is_lost():
    plain = LocalTeacher(ScriptedModel(), TeacherConfig(candidates_per_question=8))
    answers = [w.answer for w in plain.write([request(count=1)])[0].written]
    everything = [w.answer for w in plain.write([request(count=8)])[0].written]
    assert everything[: len(answers)] == answers
    first, second, third, fourth, *others = everything
    model = ScriptedModel(
        faulty={first: "What?", second: f"Who says {second} in Hanoi?"},
        misread={third: "", fourth: "quite another thing"},
    )
    config = TeacherConfig(candidates_per_question=1, questions_per_span=1)
    (result,) = LocalTeacher(model, config).write([request(count=8)])
    assert [w.answer for w in result.written] == others
    assert result.dropped == {
        "question_too_short": 1,
        "question_holds_answer": 1,
        "round_trip_abstained": 1,
        "round_trip_differs": 1,
    }


def test_of_more_questions_than_wanted_those_are_kept_that_the_model_is_surest_of():
    everything = LocalTeacher(ScriptedModel(), TeacherConfig()).write([request(count=8)])[0]
    last = everything.written[-1].answer
    config = TeacherConfig(candidates_per_question=8)
    (result,) = LocalTeacher(ScriptedModel(sure=[last]), config).write([request(count=1)])
    assert [w.answer for w in result.written] == [last]
    assert result.dropped == {"more_than_wanted": len(everything.written) - 1}


def test_words_that_come_twice_are_a_fault_where_a_small_model_wrote_them():
    assert says_twice("what is the goodwill desk that the goodwill desk opens?")
    assert not says_twice("what is the name of the desk of the shop?")


def test_spans_whose_question_failed_are_asked_about_again():
    first = LocalTeacher(ScriptedModel(), TeacherConfig()).write([request()])[0].written[0].answer
    config = TeacherConfig(candidates_per_question=1, questions_per_span=2)
    faults = {"misread": {first: "another"}, "learns": 1}
    (result,) = LocalTeacher(ScriptedModel(**faults), config).write([request(count=3)])
    assert len(result.written) == 3 and result.written[-1].answer == first
    assert result.dropped == {"round_trip_differs": 1}
    faults["learns"] = 2  # which comes too late
    (result,) = LocalTeacher(ScriptedModel(**faults), config).write([request(count=3)])
    assert len(result.written) == 2 and result.dropped == {"round_trip_differs": 2}


def test_a_question_that_the_teacher_answers_by_heart_is_left_out():
    model = ScriptedModel()
    (whole,) = LocalTeacher(model, TeacherConfig()).write([request(count=3)])
    known = whole.written[1].answer
    (result,) = LocalTeacher(ScriptedModel(knows=[known]), TeacherConfig()).write(
        [request(count=3)]
    )
    assert known not in [w.answer for w in result.written]
    assert result.dropped["answerable_without_documents"] == 1
    unchecked = LocalTeacher(ScriptedModel(knows=[known]), TeacherConfig(leak_f1=1.5))
    assert unchecked.write([request(count=3)])[0].written == whole.written


def test_the_same_question_is_written_once_per_chunk():
    class Stubborn(ScriptedModel):
        def _one(self, content):
            if "Question: " in content:
                return super()._one(content)
            self.answers.setdefault("What is said here?", content.rsplit("Answer: ", 1)[1])
            return "what is  said here"

    model = Stubborn()
    model.answers["what is said here?"] = "x"
    config = TeacherConfig(candidates_per_question=2, questions_per_span=1, min_round_trip_f1=0)
    (result,) = LocalTeacher(model, config).write([request(count=2)])
    assert len(result.written) == 1
    assert result.dropped == {"duplicate_question": 3}


def test_batches_never_mix_chunks():
    model = ScriptedModel()
    requests = [request(chunk_id="a"), request(chunk_id="b"), request(text="Nothing.")]
    results = LocalTeacher(model, TeacherConfig(candidates_per_question=3)).write(requests)
    assert model.batches == [6, 6, 6, 6, 6, 6]
    assert results[2].dropped == {"no_answer_span": 1}
    assert LocalTeacher(ScriptedModel(), TeacherConfig()).digest != (
        LocalTeacher(ScriptedModel(), TeacherConfig(min_round_trip_f1=0.1)).digest
    )
