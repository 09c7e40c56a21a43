"""ASGI middleware that refuses request bodies that are too long or that do not arrive."""

import asyncio

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.errors import BodyTimeout, error_body, error_response


class BodyLimit:
    """Answers 413 once a body is, or says that it is, longer than `max_bytes`.

    And 408 if it has not arrived after `within_s`: a client that dawdles holds a place.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, within_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._within_s = within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on if it is short enough."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        body = _Body(receive, self._max_bytes, self._within_s)

        async def unless_refused(message: Message) -> None:
            if not body.is_refused:
                await send(message)

        try:
            await self._app(scope, body.receive, unless_refused)
        finally:
            if body.is_late:
                error = BodyTimeout(f"the request body did not arrive within {self._within_s:g} s")
                await error_response(error)(scope, receive, send)
            elif body.is_long:
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"the request body is longer than {self._max_bytes} bytes"
        await JSONResponse(error_body(message, 413), 413)(scope, receive, send)


class _Body:
    """What arrives of one request, watched."""

    def __init__(self, receive: Receive, max_bytes: int, within_s: float) -> None:
        self._receive = receive
        self._left = max_bytes
        self._deadline = asyncio.get_running_loop().time() + within_s
        self._is_whole = False
        self.is_long = False
        self.is_late = False

    @property
    def is_refused(self) -> bool:
        """Whether what the application says of it does not count any more."""
        return self.is_long or self.is_late

    async def receive(self) -> Message:
        """The next message; a refused body looks as if the client had left."""
        if self._is_whole:
            return await self._receive()  # waits until the client leaves
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self.is_late = True
            return {"type": "http.disconnect"}
        self._left -= len(message.get("body", b""))
        self.is_long = self._left < 0
        self._is_whole = not message.get("more_body", False)
        return {"type": "http.disconnect"} if self.is_long else message
