"""The HTTP API over a service in memory: shapes, statuses and limits, without a cluster."""

import asyncio
import json
import time

import pytest

from rayraft.errors import GenerationError, NotFoundError, VersionTimeout
from serve.errors import Overloaded, RequestTimeout, Unavailable
from tests.ray.api_in_process import Api, error_of


@pytest.fixture
def api():
    return Api()


def test_chat_has_openais_shape_and_says_how_it_was_answered(api):
    reply = api.chat(model="rayraft").json()
    assert reply["object"] == "chat.completion"
    assert reply["choices"][0]["message"] == {"role": "assistant", "content": "5 EUR"}
    assert reply["usage"] == {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    said = reply["rayraft"]
    assert (said["mode"], said["route"], said["kb_version"]) == ("rag", "because", 7)
    assert said["citations"][0]["document_id"] == "d"
    assert "passages" not in said


def test_passages_are_sent_along_when_asked_for(api):
    reply = api.chat(rayraft={"passages": True}).json()
    assert reply["rayraft"]["passages"][0]["chunk_id"] == "d#0"


def test_options_and_last_user_message_reach_the_service(api):
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "answer"},
        {"role": "user", "content": [{"type": "text", "text": "second"}]},
    ]
    options = {"k": 2, "where": {"region": "VN"}, "min_kb_version": 5, "mode": "rag"}
    api.chat(model="rayraft", messages=messages, max_tokens=7, rayraft=options)
    (ask,) = api.service.asked
    assert (ask.question, ask.mode, ask.k, ask.where) == ("second", "rag", 2, {"region": "VN"})
    assert (ask.min_kb_version, ask.max_new_tokens, ask.groups) == (5, 7, ())


def test_what_blends_grounds_and_limits_an_answer_reaches_the_service(api):
    options = {"retrieval_weight": 0.3, "reading_adapter": "r-v2", "require_grounding": True}
    reply = api.chat(model="rayraft/blend@a-v1", rayraft={**options, "timeout_s": 5}).json()
    (ask,) = api.service.asked
    assert (ask.mode, ask.adapter) == ("blend", "a-v1")
    assert ask.model_dump(include=set(options)) == options
    assert 0 < ask.deadline_at - time.time() <= 5
    assert reply["rayraft"]["supported"] is False
    api.chat(stream=True)
    api.chat()
    streamed, whole = api.service.asked[1:]
    assert streamed.deadline_at is None and whole.deadline_at > ask.deadline_at + 50


def test_model_names_carry_mode_and_adapter(api):
    for model in ("rayraft", "rayraft/closed_book", "rayraft/raft@my-v2-v13", "rayraft/auto@a-v1"):
        assert api.chat(model=model).status_code == 200
    asked = [(ask.mode, ask.adapter) for ask in api.service.asked]
    assert asked == [
        ("auto", None),
        ("closed_book", None),
        ("raft", "my-v2-v13"),
        ("auto", "a-v1"),
    ]


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4",
        "rayraft/magic",
        "rayraft/raft@",
        "rayraft/raft@../../etc-v1",
        "rayraft/raft@A-v1",
        "rayraft/raft@a-v0",
        "rayraft/raft@a-v1\n",
        "rayraft@a-v1",
    ],
)
def test_unknown_model_is_404_and_never_reaches_the_service(api, model):
    response = api.chat(model=model)
    assert response.status_code == 404
    assert "rayraft/raft" in error_of(response)["message"]
    assert api.service.asked == []


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages"),
        ({"rayraft": {"k": 0}}, "rayraft.k"),
        ({"rayraft": {"k": 1000}}, "rayraft.k"),
        ({"rayraft": {"unknown": 1}}, "rayraft.unknown"),
        ({"rayraft": {"min_kb_version": -1}}, "rayraft.min_kb_version"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"stream": "perhaps"}, "stream"),
        ({"model": "rayraft/rag", "rayraft": {"mode": "raft"}}, "rayraft.mode"),
        ({"messages": [{"role": "user", "content": "x" * 20_001}]}, "question"),
    ],
)
def test_bad_fields_are_400_and_named(api, body, named):
    response = api.chat(**body)
    assert response.status_code == 400
    assert named in error_of(response)["message"]
    assert len(error_of(response)["message"]) < 500


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[" * 100_000, b'"text"', b"NaN"])
def test_what_is_no_json_object_is_400(api, content):
    response = api.send(
        "POST",
        "/v1/chat/completions",
        content=content,
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (NotFoundError("no adapter"), 404, "not_found_error"),
        (Overloaded("full"), 429, "rate_limit_error"),
        (Unavailable("restarting"), 503, "service_unavailable_error"),
        (GenerationError("broken"), 503, "service_unavailable_error"),
        (VersionTimeout("late"), 504, "timeout_error"),
        (RequestTimeout("late"), 504, "timeout_error"),
        (KeyError("a defect"), 500, "server_error"),
    ],
)
def test_every_error_has_its_status_streamed_or_not(api, error, status, kind):
    api.service.fails_with, api.service.pieces = error, []
    for stream in (False, True):
        response = api.chat(stream=stream)
        assert response.status_code == status
        assert error_of(response)["type"] == kind
        assert ("retry-after" in response.headers) == (status in (429, 503))
        assert "a defect" not in response.text, "internals stay in the log"


def test_stream_is_openais_and_ends_with_done(api):
    response = api.chat(stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, done = [line for line in response.text.split("\n\n") if line]
    assert done == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    texts = [c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]]
    assert "".join(texts) == "5 EUR"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-2]["rayraft"]["kb_version"] == 7
    assert chunks[-1]["usage"]["total_tokens"] == 12


def test_failure_inside_a_stream_is_told_in_the_stream(api):
    api.service.fails_with = GenerationError("broken")
    response = api.chat(stream=True)
    assert response.status_code == 200
    *_, failure, done = [line for line in response.text.split("\n\n") if line]
    assert done == "data: [DONE]"
    assert json.loads(failure.removeprefix("data: "))["error"]["message"] == "broken"
    assert api.service.closed


def test_request_that_takes_too_long_is_504(monkeypatch):
    api = Api(request_timeout_s=0.05)

    async def forever(request):
        await asyncio.sleep(60)

    monkeypatch.setattr(api.service, "answer", forever)
    response = api.chat()
    assert response.status_code == 504
    assert error_of(response)["type"] == "timeout_error"


def test_groups_of_clients_are_refused_unless_trusted():
    api = Api(default_groups=["staff"])
    refused = api.chat(rayraft={"groups": ["board"]})
    assert refused.status_code == 403 and api.service.asked == []
    api.chat()
    assert api.service.asked[0].groups == ("staff",)
    trusting = Api(trust_client_groups=True)
    trusting.chat(rayraft={"groups": ["board"]})
    trusting.send("POST", "/v1/search", json={"query": "q", "groups": ["board"]})
    assert trusting.service.asked[0].groups == ("board",)
    assert trusting.service.searches[0].groups == ("board",)
