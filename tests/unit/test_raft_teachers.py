import json
from dataclasses import dataclass

import httpx2
import pytest

from data_pipelines.openai_teacher import OpenAITeacher
from data_pipelines.question_checks import clean_question, find_span, holds_answer, question_fault
from data_pipelines.teachers import LocalTeacher, TeacherConfig, TeacherRequest
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


class ScriptedModel:
    """Writes a question that tells its answer by a code word, and reads it back.

    `faulty` maps an answer to what the model writes instead, `misread` to what it reads back.
    """

    base_digest = "scripted"

    def __init__(self, faulty=None, misread=None):
        self.faulty, self.misread = faulty or {}, misread or {}
        self.answers = {}
        self.batches = []

    def generate(self, prompts, *, max_new_tokens):
        self.batches.append(len(prompts))
        return [Output(self._one(messages[-1]["content"])) for messages in prompts]

    def _one(self, content):
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
    config = TeacherConfig(candidates_per_question=1)
    (result,) = LocalTeacher(model, config).write([request(count=8)])
    assert [w.answer for w in result.written] == others
    assert result.dropped == {
        "question_too_short": 1,
        "question_holds_answer": 1,
        "round_trip_abstained": 1,
        "round_trip_differs": 1,
    }


def test_the_same_question_is_written_once_per_chunk():
    class Stubborn(ScriptedModel):
        def _one(self, content):
            if "Question: " in content:
                return super()._one(content)
            self.answers.setdefault("What is said here?", content.rsplit("Answer: ", 1)[1])
            return "what is  said here"

    model = Stubborn()
    model.answers["what is said here?"] = "x"
    config = TeacherConfig(candidates_per_question=2, min_round_trip_f1=0)
    (result,) = LocalTeacher(model, config).write([request(count=2)])
    assert len(result.written) == 1
    assert result.dropped == {"duplicate_question": 3}


def test_batches_never_mix_chunks():
    model = ScriptedModel()
    requests = [request(chunk_id="a"), request(chunk_id="b"), request(text="Nothing.")]
    results = LocalTeacher(model, TeacherConfig(candidates_per_question=3)).write(requests)
    assert model.batches == [6, 6, 6, 6]
    assert results[2].dropped == {"no_answer_span": 1}
    assert LocalTeacher(ScriptedModel(), TeacherConfig()).digest != (
        LocalTeacher(ScriptedModel(), TeacherConfig(min_round_trip_f1=0.1)).digest
    )


def openai_teacher(handler, **settings):
    config = TeacherConfig(kind="openai", base_model="m", url="http://teacher/v1", **settings)
    return OpenAITeacher(config, "key", httpx2.MockTransport(handler), first_wait_s=0)


def reply(content):
    return httpx2.Response(200, json={"choices": [{"message": {"content": content}}]})


GOOD = {
    "question": "What is the parcel fee in Hanoi?",
    "quote": "the parcel fee in Hanoi is  15 euros",
    "answer": "15 Euros",
}


def test_endpoint_is_asked_with_key_and_model_and_quotes_take_the_chunks_spelling():
    seen = []

    def handler(sent):
        seen.append(sent)
        return reply("```json\n" + json.dumps({"examples": [GOOD]}) + "\n```")

    (result,) = openai_teacher(handler).write([request()])
    (written,) = result.written
    assert (written.quote, written.answer) == ("The parcel fee in Hanoi is 15 euros", "15 euros")
    assert result.dropped == {}
    assert str(seen[0].url) == "http://teacher/v1/chat/completions"
    assert seen[0].headers["authorization"] == "Bearer key"
    body = json.loads(seen[0].content)
    assert (body["model"], body["temperature"]) == ("m", 0)
    assert TEXT in body["messages"][1]["content"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quote": "words that nobody wrote"}, "quote_not_in_chunk"),
        ({"answer": "20 kilograms"}, "answer_not_in_quote"),
        ({"answer": ""}, "teacher_field_wrong"),
        ({"quote": None}, "teacher_field_wrong"),
        ({"question": "Fee?"}, "question_too_short"),
        ({"question": "Who pays 15 euros there?"}, "question_holds_answer"),
    ],
)
def test_examples_that_do_not_hold_are_counted(change, reason):
    rows = [{**GOOD, **change}, GOOD, GOOD]
    (result,) = openai_teacher(lambda _: reply(json.dumps({"examples": rows}))).write([request()])
    assert len(result.written) == 1
    assert result.dropped == {reason: 1, "duplicate_question": 1}


@pytest.mark.parametrize("content", ["", "no json", "[1]", '{"examples": 3}', "{" * 100_000])
def test_an_answer_that_is_no_json_costs_its_chunk_only(content):
    first = iter([content])
    good = json.dumps(GOOD)  # one bare object is taken as one example
    teacher = openai_teacher(lambda _: reply(next(first, good)), max_in_flight=1)
    broken, fine = teacher.write([request(chunk_id="a"), request(chunk_id="b")])
    assert broken.dropped == {"teacher_not_json": 1}
    assert len(fine.written) == 1


def test_a_busy_endpoint_is_tried_again_and_a_dead_one_is_counted():
    calls = []

    def busy(sent):
        calls.append(sent)
        if len(calls) == 1:
            raise httpx2.ConnectTimeout("slow", request=sent)
        return httpx2.Response(429) if len(calls) == 2 else reply(json.dumps(GOOD))

    (result,) = openai_teacher(busy, max_retries=2).write([request()])
    assert (len(calls), len(result.written)) == (3, 1)

    calls.clear()

    def always(status):
        def handler(sent):
            calls.append(sent)
            return httpx2.Response(status)

        return handler

    dead = openai_teacher(always(500), max_retries=2)
    assert dead.write([request()])[0].dropped == {"teacher_error": 1}
    assert len(calls) == 3

    calls.clear()
    refused = openai_teacher(always(401))
    assert refused.write([request()])[0].dropped == {"teacher_error": 1}
    assert len(calls) == 1
