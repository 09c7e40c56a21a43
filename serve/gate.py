"""ASGI middleware in front of everything: who is it, may they come in, and is there room.

It answers 401, 403 and 429 before a body is read; what a key may do is checked by the routes.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayraft.errors import RayraftError
from serve.callers import Caller
from serve.errors import Forbidden, Overloaded, Unauthorized, error_response
from serve.keys import ApiKey, KeyRing
from serve.limits import Limiter
from serve.loopback import is_loopback

OPEN_PATHS = frozenset({"/healthz", "/openapi.json", "/docs"})
"""Answered to everybody: they say nothing of what is stored."""


class Gate:
    """Lets a request in, or answers it with an error.

    Args:
        app: What is behind the gate.
        keys: The valid keys; None where the service has none and is for this machine alone.
        limiter: Counts what each key uses.
        max_in_flight: Requests behind the gate at the same time.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyRing | None,
        limiter: Limiter,
        max_in_flight: int,
    ) -> None:
        self._app = app
        self._keys = keys
        self._limiter = limiter
        self._max_in_flight = max_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on with its `Caller`."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            caller = self._admit(scope)
        except RayraftError as exc:
            await error_response(exc)(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        self._in_flight += 1
        try:
            await self._app(scope, receive, self._with_limits(caller, send))
        finally:
            self._in_flight -= 1

    def _admit(self, scope: Scope) -> Caller:
        key = self._key_of(scope)
        if self._in_flight >= self._max_in_flight:
            raise Overloaded("the service is at its limit; try again")
        if key is not None:
            self._limiter.admit(key)
        return Caller(key, self._limiter)

    def _key_of(self, scope: Scope) -> ApiKey | None:
        headers = Headers(scope=scope)
        if self._keys is None:
            _check_loopback(scope, headers.get("host", ""))
            return None
        given = headers.getlist("authorization")
        scheme, _, secret = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthorized("no API key: send `Authorization: Bearer KEY`")
        key = self._keys.find(secret.strip())
        if key is None:
            raise Unauthorized("this API key is not valid")
        return key

    def _with_limits(self, caller: Caller, send: Send) -> Send:
        key = caller.key
        if key is None:
            return send

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._limiter.headers(key))
            await send(message)

        return send_with_limits


def _check_loopback(scope: Scope, host: str) -> None:
    # Whatever address the server was told to listen on: this is the one the request arrived at.
    server = scope.get("server")
    if server is not None and not is_loopback(server[0]):
        raise Forbidden(
            "this service has no API keys and answers this machine alone; see `rayraft keys --help`"
        )
    # A page in a browser may reach loopback under a name of its own (DNS rebinding).
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name and not is_loopback(name):
        raise Forbidden(f"Host {host!r:.100}: without API keys it must be localhost or loopback")
