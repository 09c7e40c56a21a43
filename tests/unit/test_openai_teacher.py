"""The teacher behind an OpenAI-compatible endpoint, over a transport in memory."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from data_pipelines.chat_teacher import ChatTeacher
from data_pipelines.openai_teacher import OpenAICarrier
from data_pipelines.teacher_config import TeacherConfig
from data_pipelines.teachers import TeacherRequest
from rayraft.prompts import completion

TEXT = (
    "The parcel fee in Hanoi is 15 euros for everybody. The goodwill desk opens on 3 January 2026."
)


def request(chunk_id="c"):
    return TeacherRequest(chunk_id=chunk_id, title="Couriers", text=TEXT, count=2, seed=0)


def openai_teacher(handler, **settings):
    given = {"kind": "openai", "base_model": "m", "url": "http://teacher/v1", "leak_f1": 2}
    config = TeacherConfig.model_validate(given | settings)
    transport = httpx2.MockTransport(handler)
    carrier = OpenAICarrier(config, "key", transport=transport, first_wait_s=0)
    return ChatTeacher(config, carrier)


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


def test_an_endpoint_is_asked_for_each_answer_without_the_document():
    def handler(sent):
        body = json.loads(sent.content)
        if TEXT in body["messages"][-1]["content"]:
            return reply(json.dumps({"examples": [GOOD, {**GOOD, "question": "What is the fee?"}]}))
        assert "response_format" not in body
        known = "Hanoi" in body["messages"][-1]["content"]
        return reply(completion("", "15 euros" if known else ""))

    (result,) = openai_teacher(handler, leak_f1=0.6).write([request()])
    assert [written.question for written in result.written] == ["What is the fee?"]
    assert result.dropped == {"answerable_without_documents": 1}


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


def test_callers_at_the_same_time_share_what_may_be_under_way():
    lock, under_way, most = threading.Lock(), 0, 0

    def handler(sent):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1
        return reply(json.loads(sent.content)["messages"][0]["content"])

    settings = {"kind": "openai", "base_model": "m", "url": "http://t/v1", "max_in_flight": 3}
    config = TeacherConfig.model_validate(settings)
    carrier = OpenAICarrier(config, transport=httpx2.MockTransport(handler))
    callers = [[[{"role": "user", "content": f"{c}-{n}"}] for n in range(6)] for c in range(2)]
    with ThreadPoolExecutor(2) as pool:
        answered = list(pool.map(lambda prompts: carrier(prompts, as_json=False), callers))
    assert [[r.text for r in replies] for replies in answered] == [
        [prompt[0]["content"] for prompt in prompts] for prompts in callers
    ]
    assert most == 3
