"""How much is let in, and from where, without a cluster."""

import asyncio
from typing import Any

import pytest

from serve.config import ApiConfig
from tests.ray.api_in_process import Api, error_of, key_of

NAMES: dict[str, dict[str, Any]] = {
    "ask": {},
    "few": {"requests_per_minute": 2, "tokens_per_minute": 1000},
    "terse": {"tokens_per_minute": 10},
}
KEYS = [key_of(name, **values) for name, values in NAMES.items()]


@pytest.fixture
def api():
    return Api(keys=KEYS)


def test_limits_are_told_and_then_kept(api):
    first = api.chat("few")
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    second = api.send("GET", "/v1/models", "few")
    assert second.headers["x-ratelimit-remaining-tokens"] == "988"
    refused = api.chat("few")
    assert refused.status_code == 429 and error_of(refused)["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert api.chat("ask").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_of_an_answer_count_streamed_or_not(api, stream):
    assert api.chat("terse", stream=stream).status_code == 200
    assert api.chat("terse").status_code == 429


def test_a_full_service_refuses_at_once_and_has_room_again(monkeypatch):
    api = Api(scale={"max_ongoing_requests": 2})
    entered, leave = asyncio.Event(), asyncio.Event()

    async def go():
        async def slow(request):
            entered.set()
            await leave.wait()
            return api.service._answer(request)

        monkeypatch.setattr(api.service, "answer", slow)
        async with api.client() as client:
            body = {"messages": [{"role": "user", "content": "q"}]}
            posts = [asyncio.create_task(client.post("/v1/chat/completions", json=body))]
            await entered.wait()
            posts.append(asyncio.create_task(client.post("/v1/chat/completions", json=body)))
            await asyncio.sleep(0.01)
            full = await client.post("/v1/search", json={"query": "q"})
            alive = await client.get("/healthz")
            leave.set()
            done = [(await post).status_code for post in posts]
            return full, alive, done, await client.post("/v1/search", json={"query": "q"})

    full, alive, done, after = asyncio.run(go())
    assert full.status_code == 429 and full.headers["retry-after"]
    assert error_of(full)["type"] == "rate_limit_error"
    assert alive.status_code == 200 and done == [200, 200] and after.status_code == 200


def test_a_body_that_does_not_come_is_408():
    api = Api(request_timeout_s=0.05)

    async def dawdling():
        yield b'{"messages"'
        await asyncio.sleep(60)

    response = api.send("POST", "/v1/chat/completions", content=dawdling())
    assert response.status_code == 408 and error_of(response)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("base", "host", "status"),
    [
        ("http://127.0.0.1:8000", None, 200),
        ("http://[::1]:8000", None, 200),
        ("http://127.0.0.1:8000", "localhost:8000", 200),
        ("http://10.1.2.3:8000", None, 403),
        ("http://10.1.2.3:8000", "localhost", 403),
        ("http://127.0.0.1:8000", "evil.example:8000", 403),
    ],
)
def test_without_keys_only_this_machine_is_answered(base, host, status):
    headers = {"host": host} if host else {}
    for path in ("/v1/models", "/metrics", "/readyz"):
        assert Api().send("GET", path, base=base, headers=headers).status_code == status
    keyed = Api(keys=KEYS).send("GET", "/v1/models", "ask", base=base, headers=headers)
    assert keyed.status_code == 200, "with keys it does not matter where a request comes in"


def test_keys_and_trusted_groups_exclude_each_other():
    with pytest.raises(ValueError, match="trust_client_groups"):
        ApiConfig(keys="keys.yaml", trust_client_groups=True)
