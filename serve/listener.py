"""The API's own HTTP server, in its replica, with nobody between it and its clients.

Ray Serve's proxy sends each request to the API as an actor call and gets the answer back piece by
piece: 6 ms of an answer and as much CPU time, on two cores. Where there is one API process, nothing
has to be spread over several, and the proxy is left out.
"""

import asyncio
import errno
import logging
import socket
from contextlib import AbstractContextManager, nullcontext

import uvicorn
from starlette.types import ASGIApp

from rayraft.errors import InputError
from serve.hang_ups import HangUps
from serve.loopback import Address

KEEP_ALIVE_S = 75
"""How long an idle connection stays open: longer than balancers and clients keep theirs, so that it
is never closed under a request."""


def held(address: Address) -> socket.socket:
    """The port, kept until the socket is closed: no outgoing connection takes it by chance.

    Raises:
        InputError: The port is in use or may not be opened.
    """
    _bound(address, socket.SO_REUSEADDR).close()  # alone, it is refused where somebody listens
    # Bound and not listening, it is given no connection. SO_REUSEPORT lets the replica have it too.
    return _bound(address, socket.SO_REUSEPORT)


class Listener:
    """An HTTP server in the event loop that starts it.

    Args:
        app: What answers; a request whose client has left is cancelled.
        address: Where to listen.
        grace_s: How long begun requests may take once it is stopped.
    """

    def __init__(self, app: ASGIApp, address: Address, grace_s: int) -> None:
        self._address = address
        config = uvicorn.Config(
            HangUps(app),
            host=address.host,
            port=address.port,
            lifespan="off",
            access_log=False,
            log_config=None,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=grace_s,
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns once it listens.

        Raises:
            InputError: The port is in use or may not be opened.
        """
        # What fails in a handler is logged there, once; uvicorn would do it again.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        listening = _bound(self._address, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            self.check()
            await asyncio.sleep(0.01)

    def check(self) -> None:
        """Raises if it does not serve any more."""
        if self._serving is None or self._serving.done():
            raise RuntimeError(f"nobody listens at {self._address.host}:{self._address.port}")

    async def stop(self) -> None:
        """Takes no more connections, and returns once begun requests are answered."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


class _Server(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leaves the signals to Ray, which runs the process."""
        return nullcontext()


def _bound(address: Address, *options: int) -> socket.socket:
    host, port = address
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind((host, port))
    except OSError as exc:
        bound.close()
        if exc.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} on {host} is in use; give another --port") from exc
        raise InputError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    return bound
