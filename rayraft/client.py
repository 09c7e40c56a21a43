"""A small HTTP client of the service, for the command line."""

import os
from typing import Any

import httpx2
from pydantic import ValidationError

from rayraft.errors import InputError, NotFoundError, RayraftError
from rayraft.protocols import AskRequest
from rayraft.records import Answer, Usage

TIMEOUT_S = 120.0
KEY_VARIABLE = "RAYRAFT_API_KEY"
"""Environment variable of the key for a service that has keys."""


class ServiceError(RayraftError):
    """The service could not be reached or could not answer."""


class ServiceUnreachable(ServiceError):
    """Nothing listens at the address."""


def ask_service(
    url: str,
    request: AskRequest,
    with_passages: bool = False,
    client: httpx2.Client | None = None,
) -> Answer:
    """The service's answer.

    Args:
        url: The service's, without a path.
        request: What to ask.
        with_passages: Whether the answer brings the passages that were shown.
        client: Sends the request, with its own settings and open connections; None makes one.

    Raises:
        NotFoundError: Unknown mode or adapter.
        InputError: The service refuses the request.
        ServiceError: It cannot be reached, fails, or is no service of this project.
    """
    url = f"{url.rstrip('/')}/v1/chat/completions"
    body = _body(request, with_passages)
    if client is None:
        with httpx2.Client(timeout=TIMEOUT_S, headers=_authorization()) as one_off:
            return _answer(_post(one_off, url, body), url)
    return _answer(_post(client, url, body), url)


def _authorization() -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _body(request: AskRequest, with_passages: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"k": request.k, "passages": with_passages, "mode": request.mode}
    for name in ("where", "retrieval_weight", "reading_adapter"):
        if (value := getattr(request, name)) is not None:
            options[name] = value
    if request.require_grounding:
        options["require_grounding"] = True
    if request.groups:
        options["groups"] = list(request.groups)
    if request.min_kb_version is not None:
        options["min_kb_version"] = request.min_kb_version
    if request.mu is not None:
        options["mu"] = request.mu
    return {
        "model": _model(request),
        "messages": [{"role": "user", "content": request.question}],
        "max_completion_tokens": request.max_new_tokens,
        "rayraft": options,
    }


def _model(request: AskRequest) -> str:
    if request.adapter:
        return f"rayraft/{request.mode}@{request.adapter}"
    return "rayraft" if request.mode == "auto" else f"rayraft/{request.mode}"


def _post(client: httpx2.Client, url: str, body: dict[str, Any]) -> Any:
    try:
        response = client.post(url, json=body)
        reply = response.json()
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as exc:
        raise ServiceUnreachable(f"{url}: {exc}") from exc
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        raise ServiceError(f"{url}: {exc}") from exc
    except ValueError as exc:
        raise ServiceError(f"{url}: status {response.status_code}, the body is not JSON") from exc
    if response.is_success:
        return reply
    kinds: dict[int, type[RayraftError]] = {
        400: InputError,
        401: InputError,
        403: InputError,
        404: NotFoundError,
    }
    kind = kinds.get(response.status_code, ServiceError)
    raise kind(_message(reply) or f"{url}: status {response.status_code}")


def _answer(reply: Any, url: str) -> Answer:
    try:
        usage = {key: reply["usage"][key] for key in Usage.model_fields}
        text = reply["choices"][0]["message"]["content"]
        return Answer.model_validate({"text": text, "usage": usage, **reply["rayraft"]})
    except (LookupError, TypeError, ValidationError) as exc:
        raise ServiceError(f"{url}: this is no RayRAFT service, by its reply") from exc


def _message(reply: Any) -> str | None:
    """The reason in an error's body; other servers send a string where OpenAI has an object."""
    error = reply.get("error") if isinstance(reply, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else None
