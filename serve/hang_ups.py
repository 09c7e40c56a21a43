"""ASGI middleware that ends the work on a request whose client has left, as Serve's proxy does."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HangUps:
    """Cancels a request's handler when its client leaves before the answer is whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, for as long as somebody waits for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        handler = asyncio.current_task()
        assert handler is not None, "a server runs each request in a task"
        client = _Client(receive, send, handler)
        watching = asyncio.create_task(client.watch())
        try:
            await self._app(scope, client.receive, client.send)
        except asyncio.CancelledError:
            if not client.has_left:
                raise
            handler.uncancel()
        finally:
            watching.cancel()


class _Client:
    """What arrives of one request, and whether anybody still waits for the answer."""

    def __init__(self, receive: Receive, send: Send, handler: "asyncio.Task[None]") -> None:
        self._receive = receive
        self._send = send
        self._handler = handler
        # One message ahead: a body is taken no faster than the application reads it.
        self._messages: asyncio.Queue[Message] = asyncio.Queue(maxsize=1)
        self._answered = False
        self.has_left = False

    async def watch(self) -> None:
        """Hands on what arrives until the client has left."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
            await self._messages.put(message)
        if not self._answered:
            self.has_left = True
            self._handler.cancel()

    async def receive(self) -> Message:
        """The next message of the client."""
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        """Passes a message to the client."""
        # A server tells of a disconnect after the last piece, too.
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._answered = True
        await self._send(message)
