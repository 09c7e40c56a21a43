"""The HTTP API in this process, spoken to as a client does."""

import asyncio

import httpx2
import openai

from serve.api import create_api
from serve.config import ApiConfig
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


def error_of(response):
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error
