"""The HTTP API in this process, spoken to as a client does."""

import asyncio

import httpx2
import openai

from serve.api import create_api
from serve.config import ApiConfig
from serve.keys import ApiKey, KeyRing, key_digest
from tests.ray.serve_fakes import FakeService

BASE = "http://127.0.0.1:8000"
QUESTION = [{"role": "user", "content": "What is the fee?"}]


def key_of(name, **values):
    """An API key whose secret is its name."""
    return ApiKey(name=name, sha256=key_digest(name), **values)


class Api:
    """A client of the application in this process."""

    def __init__(self, keys=(), **config):
        self.service = FakeService()
        ring = KeyRing(lambda: keys, poll_s=0.01) if keys else None
        self.app = create_api(self.service, ApiConfig(**config), ring)

    def send(self, method, path, key=None, base=BASE, **kwargs):
        if key is not None:
            kwargs["headers"] = {"Authorization": f"Bearer {key}", **kwargs.get("headers", {})}

        async def go():
            async with self.client(base) as client:
                return await client.request(method, path, **kwargs)

        return asyncio.run(go())

    def client(self, base=BASE):
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url=base)

    def chat(self, key=None, **body):
        body = {"messages": QUESTION, **body}
        return self.send("POST", "/v1/chat/completions", key, json=body)

    def openai(self, call, key="none"):
        """Runs `call(client)` with the public openai client."""

        async def go():
            transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
            async with openai.AsyncOpenAI(
                base_url=f"{BASE}/v1",
                api_key=key,
                max_retries=0,
                http_client=httpx2.AsyncClient(transport=transport),
            ) as client:
                return await call(client)

        return asyncio.run(go())


def error_of(response):
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error
