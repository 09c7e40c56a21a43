"""Takes Ray Serve's own control headers off what clients send, in Serve's HTTP proxy.

A client could otherwise switch off Serve's time limit or the cancelling of requests that it left,
and choose the replica. Serve's proxies load this by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.
"""

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

IMPORT_PATH = "serve.control_headers.proxy_middlewares"
CONTROL_HEADERS = frozenset(
    {
        "x-request-timeout-seconds",
        "x-request-disconnect-disabled",
        "serve-multiplexed-model-id",
        "x-session-id",
    }
)
"""As Serve compares them: lower case, and a hyphen for an underscore."""
ROUTER_PREFIX = "x-serve-router-"
"""Of the headers that Serve's request routers send to replicas."""


class NoControlHeaders:
    """ASGI middleware that hides the headers from everything behind it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on without them."""
        if scope["type"] == "http":
            scope["headers"] = [
                (name, value)
                for name, value in scope["headers"]
                if not _controls(name.decode("latin-1").lower().replace("_", "-"))
            ]
        await self._app(scope, receive, send)


def _controls(header: str) -> bool:
    return header in CONTROL_HEADERS or header.startswith(ROUTER_PREFIX)


def proxy_middlewares() -> Sequence[Middleware]:
    """What Serve's HTTP proxy puts around every application."""
    return [Middleware(NoControlHeaders)]
