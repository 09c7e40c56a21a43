"""The API's own HTTP server over real sockets; what it serves is scripted."""

import asyncio
import contextlib
import socket

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from rayraft.errors import InputError
from serve.listener import Listener, held
from serve.loopback import Address


class Handlers:
    """Counts what it finishes and what it has to give up."""

    def __init__(self):
        self.begun, self.finished, self.given_up = 0, 0, 0
        self.background = 0

    @contextlib.contextmanager
    def counted(self):
        self.begun += 1
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.given_up += 1
            raise
        self.finished += 1

    async def slow(self, request: Request):
        with self.counted():
            await request.body()
            await asyncio.sleep(float(request.query_params["s"]))
        return PlainTextResponse("done", background=BackgroundTask(self.after))

    async def after(self):
        await asyncio.sleep(0.1)
        self.background += 1

    async def stream(self, request: Request):
        async def pieces():
            with self.counted():
                for _ in range(3000):
                    yield "piece\n"
                    await asyncio.sleep(0.01)

        return StreamingResponse(pieces())

    async def length(self, request: Request):
        return PlainTextResponse(str(len(await request.body())))

    def app(self):
        names = ("slow", "stream", "length")
        return Starlette(
            routes=[Route(f"/{name}", getattr(self, name), methods=["POST"]) for name in names]
        )


def listening(use, host="127.0.0.1", grace_s=5):
    """What `use(client, handlers, listener)` returns, while the port is held as `serve` does."""

    async def go():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            address = Address(host, probe.getsockname()[1])
        with held(address):
            handlers = Handlers()
            listener = Listener(handlers.app(), address, grace_s)
            await listener.start()
            try:
                async with httpx2.AsyncClient(base_url=address.url, trust_env=False) as client:
                    return await use(client, handlers, listener)
            finally:
                await listener.stop()

    return asyncio.run(go())


async def soon(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["/slow?s=30", "/stream"])
def test_work_on_a_request_ends_when_its_client_leaves(path):
    async def use(client, handlers, listener):
        # What the client gives up, its request or the stream, it says by closing the connection.
        with contextlib.suppress(httpx2.TimeoutException):
            async with client.stream("POST", path, content=b"x", timeout=0.3) as reply:
                await anext(reply.aiter_bytes())
        await soon(lambda: handlers.given_up)
        return handlers

    handlers = listening(use)
    assert (handlers.begun, handlers.finished) == (1, 0)


def test_what_follows_an_answer_is_not_ended_with_its_connection():
    async def use(client, handlers, listener):
        reply = await client.post("/slow?s=0", headers={"connection": "close"})
        assert reply.text == "done"
        await soon(lambda: handlers.background)
        return handlers

    handlers = listening(use)
    assert (handlers.finished, handlers.given_up) == (1, 0)


def test_a_long_body_arrives_whole_and_connections_are_kept():
    async def use(client, handlers, listener):
        return [
            (await client.post("/length", content=b"x" * size)).text
            for size in (0, 1, 70_000, 5_000_000)
        ]

    assert listening(use) == ["0", "1", "70000", "5000000"]


@pytest.mark.parametrize(("grace_s", "status"), [(5, 200), (1, 500)])
def test_once_stopped_it_answers_what_is_begun_within_its_grace(grace_s, status):
    async def use(client, handlers, listener):
        posted = asyncio.create_task(client.post("/slow?s=2", timeout=30))
        await soon(lambda: handlers.begun)
        await listener.stop()
        with pytest.raises(RuntimeError, match="nobody listens"):
            listener.check()
        with pytest.raises(httpx2.ConnectError):
            await client.post("/length", headers={"connection": "close"})
        return (await posted).status_code

    assert listening(use, grace_s=grace_s) == status


def test_it_listens_on_version_6_addresses():
    async def use(client, handlers, listener):
        return (await client.post("/length", content=b"xyz")).text

    assert listening(use, host="::1") == "3"


def test_a_held_port_is_refused_to_others_and_one_in_use_is_not_held():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = Address(*taken.getsockname())
        taken.listen()
        with pytest.raises(InputError, match=f"port {address.port} on 127.0.0.1 is in use"):
            held(address)
    with held(address), socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(address)


def test_it_can_start_again_at_once_where_connections_are_still_closing():
    async def use(client, handlers, listener):
        await client.post("/length")
        return listener

    async def again(address):
        listener = Listener(Handlers().app(), address, 1)
        await listener.start()
        await listener.stop()

    listener = listening(use)  # the server closed the connection: its port is in TIME_WAIT
    asyncio.run(again(listener._address))
