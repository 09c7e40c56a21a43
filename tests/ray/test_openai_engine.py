"""The engine behind an endpoint: our own API on a real port, which fails when it is told to."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import uvicorn

from rayraft.config import load
from rayraft.demo.http import free_port
from rayraft.errors import ConfigError, DeadlineExceeded, InputError, NotFoundError
from rayraft.prompts import Message
from rayraft.protocols import GenerateRequest, View
from serve.api import create_api
from serve.breaker import CircuitBreaker
from serve.config import ApiConfig, AppConfig
from serve.engine_config import OpenAIConfig
from serve.errors import Overloaded, Unavailable
from serve.openai_engine import OpenAIEngine
from tests.ray.serve_fakes import FakeService


class Endpoint:
    """Our API, behind a gate that answers with `statuses` first."""

    def __init__(self):
        self.service = FakeService()
        self.api = create_api(self.service, ApiConfig())
        self.statuses, self.requests, self.delay_s, self.keys = [], 0, 0.0, []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            self.requests += 1
            self.keys.append(dict(scope["headers"]).get(b"authorization"))
            await asyncio.sleep(self.delay_s)
            if self.statuses:
                status = self.statuses.pop(0)
                await send({"type": "http.response.start", "status": status, "headers": []})
                await send({"type": "http.response.body", "body": b"{}"})
                return
        await self.api(scope, receive, send)


@contextmanager
def served(endpoint: Endpoint) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(endpoint, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def running():
    endpoint = Endpoint()
    with served(endpoint) as url:
        yield SimpleNamespace(endpoint=endpoint, url=url)


@pytest.fixture
def endpoint(running):
    running.endpoint.__init__()
    return running


def with_engine(endpoint, use, **settings):
    """What `use(engine)` returns; the engine's connections are closed."""
    given = {"base_url": endpoint.url, "served_model": "rayraft/rag", "max_retries": 0}

    async def go():
        engine = OpenAIEngine(OpenAIConfig(**{**given, **settings}), "secret")
        try:
            return await use(engine)
        finally:
            await engine.aclose()

    return asyncio.run(go())


def answered(endpoint, request, **settings):
    return with_engine(endpoint, lambda engine: engine.generate(request), **settings)


def ask(text="What is the fee?", adapter=None, **fields):
    messages: list[Message] = [{"role": "user", "content": text}]
    return replace(GenerateRequest.of(messages, adapter, 32), **fields)


def test_whole_and_streamed_outputs_come_with_their_tokens(endpoint):
    async def use(engine):
        await engine.check()
        return await engine.generate(ask()), [piece async for piece in engine.stream(ask())]

    whole, pieces = with_engine(endpoint, use)
    assert whole.text == "5 EUR" == "".join(piece.text for piece in pieces)
    assert [piece.text for piece in pieces[:2]] == ["5 ", "EUR"]
    for counted in (whole, pieces[-1]):
        assert (counted.prompt_tokens, counted.completion_tokens) == (10, 2)
    asked = endpoint.endpoint.service.asked[0]
    assert (asked.question, asked.mode, asked.max_new_tokens) == ("What is the fee?", "rag", 32)
    assert set(endpoint.endpoint.keys) == {b"Bearer secret"}


def test_an_adapter_is_asked_for_by_its_name(endpoint):
    answered(endpoint, ask(adapter="rayraft/raft@a-v1"))
    assert endpoint.endpoint.service.asked[0].adapter == "a-v1"


def test_failures_that_may_pass_are_tried_again(endpoint):
    endpoint.endpoint.statuses = [503, 429]
    whole = answered(endpoint, ask(), max_retries=2)
    assert (whole.text, endpoint.endpoint.requests) == ("5 EUR", 3)


@pytest.mark.parametrize(
    ("status", "error"), [(503, Unavailable), (429, Overloaded), (400, InputError)]
)
def test_what_stays_wrong_is_an_error_of_ours(endpoint, status, error):
    endpoint.endpoint.statuses = [status]
    with pytest.raises(error, match=r"127\.0\.0\.1"):
        answered(endpoint, ask())


def test_an_unknown_model_is_said_before_any_question(endpoint):
    with pytest.raises(NotFoundError, match=r"does not serve 'gpt-9'; it serves rayraft"):
        with_engine(endpoint, lambda engine: engine.check(), served_model="gpt-9")


def test_after_failures_in_a_row_the_endpoint_is_left_alone_for_a_while(endpoint):
    endpoint.endpoint.statuses = [500] * 3

    async def use(engine):
        for _ in range(5):
            with pytest.raises(Unavailable):
                await engine.generate(ask())
        sent = endpoint.endpoint.requests
        await asyncio.sleep(0.25)
        return sent, (await engine.generate(ask())).text

    after = with_engine(endpoint, use, breaker_failures=3, breaker_rest_s=0.2)
    assert after == (3, "5 EUR")


def test_nobody_listening_is_unavailable():
    nowhere = SimpleNamespace(url=f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(Unavailable):
        answered(nowhere, ask())


def test_the_time_limit_of_a_request_ends_the_wait(endpoint):
    endpoint.endpoint.delay_s = 1.0
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        answered(endpoint, ask(deadline_at=time.time() + 0.1))
    assert time.monotonic() - began < 0.8


def test_leaving_a_stream_ends_the_work_at_the_endpoint(endpoint):
    service = endpoint.endpoint.service

    async def forever(request):
        try:
            while True:
                await asyncio.sleep(0.01)
                yield "x"
        finally:
            service.closed = True

    service.answer_stream = forever

    async def use(engine):
        stream = engine.stream(ask())
        assert (await anext(stream)).text == "x"
        await stream.aclose()
        for _ in range(100):
            if service.closed:
                return
            await asyncio.sleep(0.02)

    with_engine(endpoint, use)
    assert service.closed


def test_modes_that_mix_distributions_are_refused(endpoint):
    both = GenerateRequest((View([], None, 0.5), View([], None, 0.5)), combine="rag_token")
    with pytest.raises(InputError, match="mode rag_token mixes"):
        answered(endpoint, both)


def test_an_open_breaker_lets_one_call_through_at_a_time():
    now = [0.0]
    breaker = CircuitBreaker(2, 10, clock=lambda: now[0])
    for _ in range(2):
        breaker.begin("e")
        breaker.end(False)
    with pytest.raises(Unavailable, match="e failed 2 times in a row; next try in 10 s"):
        breaker.begin("e")
    now[0] = 10.0
    breaker.begin("e")
    with pytest.raises(Unavailable):
        breaker.begin("e")
    breaker.end(None)  # the caller left: nothing is known
    breaker.begin("e")
    breaker.end(True)
    assert not breaker.is_open


def test_an_endpoint_without_address_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"needs openai\.base_url"):
        load(AppConfig, overrides=["generator.engine=openai"])
