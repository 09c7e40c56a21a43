"""What vLLM tells: events of a stream as token ids, and its errors as ours."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rayraft.errors import GenerationError, InputError, NotFoundError, RayraftError
from serve.errors import Overloaded, Unavailable
from serve.vllm_calls import VllmPiece

_ERRORS: dict[int, type[RayraftError]] = {
    400: InputError,
    404: NotFoundError,
    422: InputError,
    429: Overloaded,
    503: Unavailable,
}
"""vLLM's status codes; every other one is a `GenerationError`."""


@contextmanager
def errors_as_ours() -> Iterator[None]:
    """Inside, vLLM's errors become ours: its own cannot be read where there is no vLLM."""
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    try:
        yield
    except EngineDeadError as exc:
        raise Unavailable("vLLM's engine has died and is started again; try again later") from exc
    except EngineGenerateError as exc:
        raise GenerationError(f"vLLM: {one_line(str(exc))}") from exc


def pieces_of(item: Any) -> Iterator[VllmPiece]:
    """What one item of an `LLMServer`'s stream says: lines of events, or an error.

    Raises:
        RayraftError: It is an error; the kind that its status code means.
    """
    for part in item:
        if not isinstance(part, str):
            raise _failure(part.model_dump()["error"])
        for line in part.splitlines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise _failure(event["error"])
            for choice in event["choices"]:
                yield _piece(choice)


def _piece(choice: dict[str, Any]) -> VllmPiece:
    sure = (choice.get("logprobs") or {}).get("token_logprobs") or ()
    return VllmPiece(
        tuple(choice.get("token_ids") or ()), tuple(each for each in sure if each is not None)
    )


def _failure(error: dict[str, Any]) -> RayraftError:
    kind = _ERRORS.get(int(error.get("code") or 500), GenerationError)
    return kind(f"vLLM: {one_line(str(error.get('message')))}")


def one_line(text: str) -> str:
    """The beginning of a message, on one line."""
    return " ".join(text.split())[:300]
