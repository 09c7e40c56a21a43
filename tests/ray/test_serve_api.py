"""The HTTP API over a service in memory: shapes, statuses and limits, without a cluster."""

import asyncio
import json
import pickle

import httpx2
import openai
import pytest

from rayraft.errors import GenerationError, NotFoundError, VersionTimeout
from serve.api import create_api
from serve.config import ApiConfig
from serve.errors import Overloaded, RequestTimeout, Unavailable
from tests.ray.serve_fakes import FakeService

QUESTION = [{"role": "user", "content": "What is the fee?"}]


class Api:
    """A client of the application in this process."""

    def __init__(self, **config):
        self.service = FakeService()
        self.app = create_api(self.service, ApiConfig(**config))

    def send(self, method, path, **kwargs):
        async def go():
            transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, **kwargs)

        return asyncio.run(go())

    def chat(self, **body):
        return self.send("POST", "/v1/chat/completions", json={"messages": QUESTION, **body})

    def openai(self, call):
        """Runs `call(client)` with the public openai client."""

        async def go():
            transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
            async with openai.AsyncOpenAI(
                base_url="http://api/v1",
                api_key="none",
                max_retries=0,
                http_client=httpx2.AsyncClient(transport=transport),
            ) as client:
                return await call(client)

        return asyncio.run(go())


@pytest.fixture
def api():
    return Api()


def error_of(response):
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


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


def test_longer_bodies_than_the_limit_are_413_declared_or_not():
    api = Api(max_body_bytes=2048)
    big = json.dumps({"messages": [{"role": "user", "content": "x" * 3000}]}).encode()

    async def undeclared():
        for start in range(0, len(big), 512):
            yield big[start : start + 512]

    for content in (big, undeclared()):
        response = api.send("POST", "/v1/chat/completions", content=content)
        assert response.status_code == 413
        assert "2048" in error_of(response)["message"]
    assert api.service.asked == []
    assert api.chat().status_code == 200


def test_documents_are_put_read_and_deleted_under_ids_with_slashes(api):
    path = "/v1/documents/handbook/part%201/leave%23a.md"
    body = {"title": "Leave", "text": "30 days.", "metadata": {"region": "VN"}, "acl": []}
    assert api.send("PUT", path, json=body).json() == {
        "document_id": "handbook/part 1/leave#a.md",
        "kb_version": 8,
    }
    read = api.send("GET", path).json()
    assert {key: read[key] for key in body} == body
    assert api.send("DELETE", path).json()["deleted"] is True
    assert api.send("GET", path).status_code == 404
    assert api.send("DELETE", path).status_code == 404


def test_document_errors_name_the_field(api):
    assert "text" in error_of(api.send("PUT", "/v1/documents/a", json={}))["message"]
    unknown = api.send("PUT", "/v1/documents/a", json={"text": "x", "txt": 1})
    assert unknown.status_code == 400 and "txt" in error_of(unknown)["message"]
    too_long = api.send("PUT", "/v1/documents/" + "a" * 1025, json={"text": "x"})
    assert too_long.status_code == 400 and "document_id" in error_of(too_long)["message"]
    assert api.send("PUT", "/v1/documents/", json={"text": "x"}).status_code == 400


def test_writes_can_be_switched_off():
    api = Api(allow_writes=False)
    assert api.send("PUT", "/v1/documents/a", json={"text": "x"}).status_code == 403
    assert api.send("DELETE", "/v1/documents/a").status_code == 403
    assert api.service.documents == {}


def test_search_returns_passages_and_version(api):
    found = api.send("POST", "/v1/search", json={"query": "fee", "k": 3}).json()
    assert found["kb_version"] == 7
    assert found["data"][0]["text"] == "The fee is 5 EUR."
    late = api.send("POST", "/v1/search", json={"query": "fee", "min_kb_version": 99})
    assert late.status_code == 504
    assert api.send("POST", "/v1/search", json={"query": "q", "method": "x"}).status_code == 400


def test_unknown_paths_and_methods_have_the_error_shape(api):
    assert error_of(api.send("GET", "/v1/nothing"))["type"] == "not_found_error"
    assert api.send("DELETE", "/v1/models").status_code == 405


def test_health_is_cheap_and_readiness_asks_every_part(api):
    assert api.send("GET", "/healthz").json() == {"status": "ok"}
    assert api.send("GET", "/readyz").json() == {"status": "ready", "kb_version": 7}
    api.service.fails_with = Unavailable("generator")
    assert api.send("GET", "/healthz").status_code == 200
    assert api.send("GET", "/readyz").status_code == 503


def test_the_openai_client_understands_all_of_it(api):
    async def session(client):
        chat = await client.chat.completions.create(
            model="rayraft/rag", messages=QUESTION, extra_body={"rayraft": {"k": 2}}
        )
        stream = await client.chat.completions.create(
            model="rayraft", messages=QUESTION, stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        vectors = await client.embeddings.create(model="rayraft/embedding", input=["a", "b"])
        models = await client.models.list()
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="nope", messages=QUESTION)
        return chat, "".join(pieces), vectors, [model.id for model in models.data]

    chat, text, vectors, models = api.openai(session)
    assert chat.choices[0].message.content == text == "5 EUR"
    assert chat.model_extra["rayraft"]["kb_version"] == 7
    assert vectors.data[1].embedding == [0.0, 1.0, 0.0, 0.0]
    assert models[:4] == ["rayraft", "rayraft/closed_book", "rayraft/rag", "rayraft/raft"]
    assert "rayraft/raft@support-v3" in models


def test_embeddings_refuse_what_cannot_be_embedded(api):
    for bad in ([], "", ["a", ""], [[1, 2]], None):
        response = api.send("POST", "/v1/embeddings", json={"input": bad})
        assert response.status_code == 400 and "input" in error_of(response)["message"]
    unknown = api.send("POST", "/v1/embeddings", json={"input": "a", "model": "ada"})
    assert unknown.status_code == 404


def test_errors_survive_the_way_between_replicas():
    for error in (Overloaded("a"), Unavailable("b"), RequestTimeout("c"), VersionTimeout("d")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy)) == (type(error), str(error))
