"""The one boundary where exceptions become HTTP answers in OpenAI's error shape."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from rayraft.errors import RayraftError
from serve.errors import RequestTimeout, error_body, error_response

logger = logging.getLogger(__name__)


def add_error_handlers(api: FastAPI) -> None:
    """Makes `api` answer every error as JSON."""
    api.add_exception_handler(RequestValidationError, _invalid_request)
    api.add_exception_handler(HTTPException, _http_error)
    api.add_exception_handler(ValidationError, _invalid_record)
    for kind in (RayraftError, TimeoutError, Exception):
        api.add_exception_handler(kind, _any_error)


def stream_error(exc: Exception) -> dict[str, Any]:
    """The error as a frame of a stream that has already begun."""
    known = _expected(exc)
    if known is None:
        return error_body("internal error; see the service's log", 500)
    return error_body(str(known), known.http_status)


def _response(message: str, status: int, param: str | None = None) -> JSONResponse:
    return JSONResponse(error_body(message, status, param), status)


async def _any_error(request: Request, exc: Exception) -> JSONResponse:
    known = _expected(exc)
    if known is None:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=exc)
        return _response("internal error; see the service's log", 500)
    return error_response(known)


async def _invalid_request(_: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    # The location begins with "body" or "path".
    problems = [(_field(error["loc"][1:]), error) for error in exc.errors()]
    return _response(_in_words(problems), 400, problems[0][0] if problems else None)


async def _invalid_record(_: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, ValidationError)
    problems = [(_field(error["loc"]), dict(error)) for error in exc.errors()]
    return _response(_in_words(problems), 400, problems[0][0])


async def _http_error(_: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    return _response(str(exc.detail), exc.status_code)


def _field(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location if isinstance(part, str)) or "body"


def _in_words(problems: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    return "; ".join(f"{field}: {_reason(error)}" for field, error in problems)


def _reason(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return f"not JSON: {error.get('ctx', {}).get('error', error['msg'])}"
    if error["type"] == "extra_forbidden":
        return "unknown field"
    value = error.get("input")
    shown = f" (got {value!r:.80})" if isinstance(value, str | int | float | bool) else ""
    return f"{error['msg']}{shown}"


def _expected(exc: Exception) -> RayraftError | None:
    """The error to answer with, or None for a defect."""
    if isinstance(exc, RayraftError):
        return exc
    if isinstance(exc, TimeoutError):
        return RequestTimeout("the request took too long")
    return None
