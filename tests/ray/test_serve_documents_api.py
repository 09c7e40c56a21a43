"""Documents, search, embeddings and health over HTTP, without a cluster."""

import json
import pickle

import openai
import pytest

from rayraft.errors import VersionTimeout
from serve.errors import Overloaded, RequestTimeout, Unavailable
from tests.ray.api_in_process import QUESTION, Api, error_of


@pytest.fixture
def api():
    return Api()


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
