"""Errors of the service, and OpenAI's JSON for all of them."""

from typing import Any

from rayraft.errors import RayraftError


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


_TYPES = {
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}


def error_body(message: str, status: int, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error object."""
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": None}}
