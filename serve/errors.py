"""Errors of the service, and OpenAI's JSON for all of them."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from rayraft.errors import RayraftError
from serve.scaling import RETRY_AFTER_S


class Overloaded(RayraftError):
    """All queues are full; the client should come back."""

    http_status = 429


class Unavailable(RayraftError):
    """A deployment has no live replica now; a retry may succeed."""

    http_status = 503


class RequestTimeout(RayraftError):
    """The request took longer than `api.request_timeout_s`."""

    http_status = 504


class Forbidden(RayraftError):
    """The service is configured not to do this."""

    http_status = 403


class Unauthorized(RayraftError):
    """No API key, or one that is not valid."""

    http_status = 401
    code = "invalid_api_key"


class RateLimited(RayraftError):
    """The key's requests or tokens of this minute are used up."""

    http_status = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, retry_after_s: int, limits: Mapping[str, str]) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.limits = limits


class BodyTimeout(RayraftError):
    """The request's body did not arrive within `api.request_timeout_s`."""

    http_status = 408


_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}


def error_body(
    message: str, status: int, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """OpenAI's error object."""
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_headers(error: RayraftError) -> dict[str, str]:
    """What the answer says beside the body: when to come back, or how to say who one is."""
    if error.http_status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if error.http_status in (429, 503):
        wait_s = getattr(error, "retry_after_s", RETRY_AFTER_S)
        return {"Retry-After": str(wait_s), **getattr(error, "limits", {})}
    return {}


def error_response(error: RayraftError) -> JSONResponse:
    """The answer to a request that ended with this error."""
    body = error_body(str(error), error.http_status, code=getattr(error, "code", None))
    return JSONResponse(body, error.http_status, error_headers(error))
