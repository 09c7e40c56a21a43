"""API keys over HTTP, without a cluster: who is let in, and what a tenant never sees."""

from typing import Any

import openai
import pytest

from serve.keys import key_digest
from tests.ray.api_in_process import Api, error_of, key_of

NAMES: dict[str, dict[str, Any]] = {
    "ask": {},
    "hr": {"groups": ["hr", "it"]},
    "write": {"scopes": ["ask", "write"]},
    "admin": {"scopes": ["admin"]},
    "acme": {"tenant": "acme", "groups": ["hr"], "scopes": ["ask", "write", "admin"]},
    "other": {"tenant": "other", "groups": ["hr"], "scopes": ["ask", "write", "admin"]},
    "own": {"tenant": "acme", "default_adapter": "acme--own-v1"},
}
BATCH = {"documents": [{"document_id": "a", "text": "x"}]}
KEYS = [key_of(name, **values) for name, values in NAMES.items()]

KEYS_BY_NAME = {key.name: key for key in KEYS}


@pytest.fixture
def api():
    return Api(keys=KEYS, default_groups=["staff"])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic ask"},
        {"Authorization": "ask"},
        {"Authorization": f"Bearer {key_digest('ask')}"},
        [("Authorization", "Bearer ask"), ("Authorization", "Bearer ask")],
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/documents/a", "/metrics", "/readyz", "/none"])
def test_without_a_valid_key_nothing_is_said(api, headers, path):
    response = api.send("GET", path, headers=headers)
    assert response.status_code == 401
    assert error_of(response)["code"] == "invalid_api_key"
    assert response.headers["www-authenticate"] == "Bearer"


def test_the_openai_client_takes_a_key_and_knows_the_errors(api):
    async def ask(client):
        return await client.models.list()

    assert api.openai(ask, "ask").data
    with pytest.raises(openai.AuthenticationError):
        api.openai(ask, "wrong")
    with pytest.raises(openai.PermissionDeniedError):
        api.openai(ask, "admin")


def test_a_body_is_not_read_before_the_key(api):
    read = []

    async def body():
        read.append(True)
        yield b"{}"

    assert api.send("POST", "/v1/chat/completions", content=body()).status_code == 401
    assert read == []


def test_health_and_the_documentation_are_open(api):
    for path in ("/healthz", "/openapi.json", "/docs"):
        assert api.send("GET", path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "scope"),
    [
        ("GET", "/v1/models", None, "ask"),
        ("GET", "/v1/adapters", None, "ask"),
        ("GET", "/readyz", None, "ask"),
        ("POST", "/v1/search", {"query": "q"}, "ask"),
        ("POST", "/v1/completions", {"prompt": "q"}, "ask"),
        ("POST", "/v1/embeddings", {"input": "q"}, "ask"),
        ("POST", "/v1/rerank", {"query": "q", "documents": ["a"]}, "ask"),
        ("POST", "/v1/feedback", {"question": "q", "verdict": "rejected"}, "ask"),
        ("PUT", "/v1/documents/a", {"text": "x"}, "write"),
        ("DELETE", "/v1/documents/a", None, "write"),
        ("POST", "/v1/documents:batch", BATCH, "write"),
        ("POST", "/v1/adapters/support-v3/promote", None, "admin"),
        ("POST", "/v1/adapters:rollback", {"role": "reading"}, "admin"),
        ("GET", "/metrics", None, "admin"),
    ],
)
def test_each_route_needs_its_scope(api, method, path, body, scope):
    allowed = {name for name in ("ask", "write", "admin") if scope in KEYS_BY_NAME[name].scopes}
    for name in ("ask", "write", "admin"):
        response = api.send(method, path, name, json=body)
        refused = response.status_code == 403
        assert refused == (name not in allowed), (name, response.text)
        if refused:
            assert scope in error_of(response)["message"]


def test_a_keys_groups_are_joined_and_a_request_only_narrows_them(api):
    def groups(key, claimed=None):
        response = api.send("POST", "/v1/search", key, json={"query": "q", "groups": claimed})
        assert response.status_code == 200, response.text
        return set(api.service.searches[-1].groups)

    assert groups("ask") == {"staff"}
    assert groups("hr") == {"staff", "hr", "it"}
    assert groups("hr", ["it"]) == {"staff", "it"}
    assert groups("hr", []) == {"staff"}
    assert groups("acme") == {"staff", "tenant:acme", "tenant:acme:hr"}
    assert groups("acme", []) == {"staff", "tenant:acme"}
    asked = len(api.service.searches)
    for claimed in (["board"], ["it", "board"], ["tenant:other"], ["staff"]):
        body = {"query": "q", "groups": claimed}
        assert api.send("POST", "/v1/search", "hr", json=body).status_code == 403
        assert api.chat("hr", rayraft={"groups": claimed}).status_code == 403
    assert len(api.service.searches) == asked and api.service.asked == []


def test_a_tenants_document_does_not_exist_for_others(api):
    path, body = "/v1/documents/acme/leave.md", {"text": "30 days."}
    assert api.send("PUT", path, "acme", json=body).status_code == 200
    assert api.send("GET", path, "acme").json()["text"] == "30 days."
    missing = api.send("GET", "/v1/documents/acme/none", "other").json()["error"]["message"]
    for key in ("other", "ask", "write"):
        read = api.send("GET", path, key)
        assert read.status_code == 404
        assert read.json()["error"]["message"] == missing.replace("none", "leave.md")
    for key, status in (("other", 400), ("write", 404)):
        assert api.send("PUT", path, key, json={"text": "mine"}).status_code == status
        assert api.send("DELETE", path, key).status_code == status
        batch = {"documents": [{"document_id": "acme/leave.md", "text": "mine"}]}
        assert api.send("POST", "/v1/documents:batch", key, json=batch).status_code == status
    assert api.service.documents["acme/leave.md"].text == "30 days."
    given = {"text": "x", "acl": ["tenant:other"]}
    assert api.send("PUT", "/v1/documents/acme/x", "acme", json=given).status_code == 400
    assert set(api.service.documents) == {"acme/leave.md"}


def test_a_tenant_deletes_nothing_that_is_not_its_own(api):
    api.send("PUT", "/v1/documents/shared.md", "write", json={"text": "for all"})
    assert api.send("GET", "/v1/documents/shared.md", "acme").status_code == 200
    assert api.send("DELETE", "/v1/documents/shared.md", "acme").status_code == 400
    assert api.send("PUT", "/v1/documents/shared.md", "acme", json={"text": "x"}).status_code == 400
    assert api.service.documents["shared.md"].text == "for all"


def test_adapters_of_other_tenants_are_not_there(api):
    def listed(key):
        return [item["id"] for item in api.send("GET", "/v1/adapters", key).json()["data"]]

    assert listed("acme") == ["support-v3", "acme--own-v1"]
    assert listed("ask") == ["support-v3"]
    models = api.send("GET", "/v1/models", "ask").text
    assert "support-v3" in models and "acme--" not in models
    for mode in ("raft", "closed_book", "auto", "rag"):
        model = f"rayraft/{mode}@acme--own-v1"
        assert api.chat("acme", model=model).status_code == 200
        for key in ("other", "ask"):
            assert api.chat(key, model=model).status_code == 404
    assert len(api.service.asked) == 4


def test_a_key_brings_its_default_adapter(api):
    for model in ("rayraft", "rayraft/raft", "rayraft/rag", "rayraft/raft@support-v3"):
        api.chat("own", model=model)
    adapters = [ask.adapter for ask in api.service.asked]
    assert adapters == ["acme--own-v1", "acme--own-v1", None, "support-v3"]


def test_feedback_carries_its_tenant(api):
    said = {"question": "q", "verdict": "rejected"}
    assert api.send("POST", "/v1/feedback", "acme", json=said).status_code == 200
    assert api.service.feedback[0].groups == ["staff", "tenant:acme", "tenant:acme:hr"]


def test_a_tenant_promotes_its_own_adapters_alone(api):
    def promote(key, adapter):
        body = {"note": "better"}
        return api.send("POST", f"/v1/adapters/{adapter}/promote", key, json=body).status_code

    assert promote("acme", "acme--own-v1") == 200 and promote("admin", "support-v3") == 200
    assert promote("other", "acme--own-v1") == promote("admin", "acme--own-v1") == 404
    assert promote("acme", "support-v3") == 403
    assert api.send("POST", "/v1/adapters:rollback", "acme", json={}).status_code == 200
    assert api.service.promoted == [
        ("acme--own-v1", "better"),
        ("support-v3", "better"),
        ("reading", "acme"),
    ]
    assert api.send("GET", "/metrics", "acme").status_code == 403
