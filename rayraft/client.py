"""A small HTTP client of the service, for the command line."""

from typing import Any

import httpx2

from rayraft.errors import InputError, NotFoundError, RayraftError
from rayraft.protocols import AskRequest
from rayraft.records import Answer, Usage

TIMEOUT_S = 120.0


class ServiceError(RayraftError):
    """The service could not be reached or could not answer."""


def ask_service(url: str, request: AskRequest, with_passages: bool = False) -> Answer:
    """The service's answer.

    Raises:
        NotFoundError: Unknown mode or adapter.
        InputError: The service refuses the request.
        ServiceError: It cannot be reached, or fails.
    """
    options: dict[str, Any] = {"k": request.k, "passages": with_passages, "mode": request.mode}
    if request.groups:
        options["groups"] = list(request.groups)
    if request.min_kb_version is not None:
        options["min_kb_version"] = request.min_kb_version
    body = {
        "model": _model(request),
        "messages": [{"role": "user", "content": request.question}],
        "max_completion_tokens": request.max_new_tokens,
        "rayraft": options,
    }
    reply = _post(f"{url.rstrip('/')}/v1/chat/completions", body)
    usage = {key: reply["usage"][key] for key in Usage.model_fields}
    text = reply["choices"][0]["message"]["content"]
    return Answer.model_validate({"text": text, "usage": usage, **reply["rayraft"]})


def _model(request: AskRequest) -> str:
    mode = "rayraft" if request.mode == "auto" else f"rayraft/{request.mode}"
    return f"{mode}@{request.adapter}" if request.adapter else mode


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        response = httpx2.post(url, json=body, timeout=TIMEOUT_S)
        reply = response.json()
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        raise ServiceError(f"{url}: {exc}") from exc
    except ValueError as exc:
        raise ServiceError(f"{url}: status {response.status_code}, the body is not JSON") from exc
    if response.is_success and isinstance(reply, dict):
        return reply
    message = reply.get("error", {}).get("message") if isinstance(reply, dict) else None
    kinds: dict[int, type[RayraftError]] = {400: InputError, 403: InputError, 404: NotFoundError}
    kind = kinds.get(response.status_code, ServiceError)
    raise kind(message or f"{url}: status {response.status_code}")
