"""The engine behind any OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, a hosted model.

Retries, timeouts and the event stream are the `openai` client's own.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openai

from rayraft.deadlines import next_within, within
from rayraft.errors import GenerationError, InputError, NotFoundError
from rayraft.protocols import GeneratedPiece, GenerateRequest
from serve.breaker import CircuitBreaker
from serve.engine_config import OpenAIConfig
from serve.errors import Overloaded, Unavailable

_CLIENTS_FAULT = (
    openai.BadRequestError,
    openai.UnprocessableEntityError,
    openai.NotFoundError,
)
"""The endpoint works; it is the request that is wrong."""


class OpenAIEngine:
    """Sends each request to the endpoint; leaving a stream closes its connection, which ends it.

    Args:
        config: The endpoint.
        api_key: Empty for an endpoint without keys.
    """

    restart_helps = False
    """A new replica would meet the same endpoint."""

    def __init__(self, config: OpenAIConfig, api_key: str = "") -> None:
        self._config = config
        self._breaker = CircuitBreaker(config.breaker_failures, config.breaker_rest_s)
        self._client = openai.AsyncOpenAI(
            base_url=config.base_url,
            api_key=api_key or "none",
            timeout=httpx2.Timeout(config.timeout_s, connect=config.connect_timeout_s),
            max_retries=config.max_retries,
        )

    async def generate(self, request: GenerateRequest) -> GeneratedPiece:
        """The whole output.

        Raises:
            DeadlineExceeded: The request's time limit has passed.
            InputError: It combines several prompts, or the endpoint refuses it.
            NotFoundError: The endpoint does not serve the model or adapter.
            Unavailable: The endpoint fails, or has failed too often of late.
            Overloaded: It is at its limit.
        """
        body = self._body(request)
        with self._calling():
            async with within(request.deadline_at, "generation"):
                reply = await self._client.chat.completions.create(**body)
        return _piece(reply.choices[0].message.content if reply.choices else "", reply.usage)

    async def stream(self, request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        """The output piece by piece, the token counts last; raises as `generate`."""
        body = self._body(request)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        usage, deadline_at = None, request.deadline_at
        with self._calling():
            async with within(deadline_at, "generation"):
                chunks: Any = await self._client.chat.completions.create(**body)
            try:
                while (chunk := await next_within(chunks, deadline_at, "generation")) is not None:
                    usage = chunk.usage or usage
                    text = chunk.choices[0].delta.content if chunk.choices else None
                    if text:
                        yield GeneratedPiece(text)
            finally:
                await chunks.close()
        yield _piece("", usage)

    async def check(self) -> None:
        """Asks the endpoint for its models.

        Raises:
            Unavailable: It does not answer.
            NotFoundError: It does not serve the configured one.
        """
        with self._calling():
            served = [model.id async for model in self._client.models.list()]
        if self._config.served_model not in served:
            raise NotFoundError(
                f"{self._config.base_url} does not serve {self._config.served_model!r}; "
                f"it serves {', '.join(served[:20]) or 'none'}"
            )

    def close(self) -> None:
        """There are no threads; connections end with the process, or by `aclose`."""

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.close()

    def _body(self, request: GenerateRequest) -> dict[str, Any]:
        if len(request.views) > 1:
            raise InputError(
                f"mode {request.combine} mixes next-token distributions, which an "
                "OpenAI-compatible endpoint does not give; it needs generator.engine=transformers"
            )
        (view,) = request.views
        return {
            "model": view.adapter or self._config.served_model,
            "messages": view.messages,
            "max_tokens": request.max_new_tokens,
            "temperature": 0,
        }

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Tells the breaker how a call went, and makes the client's errors ours.

        A time limit that a request brought with it tells nothing: anybody may ask for too little.
        """
        url = self._config.base_url
        self._breaker.begin(url)
        worked: bool | None = None
        try:
            yield
            worked = True
        except _CLIENTS_FAULT as exc:
            worked = True
            kind = NotFoundError if isinstance(exc, openai.NotFoundError) else InputError
            raise kind(f"{url} refuses the request: {_reason(exc)}") from exc
        except openai.RateLimitError as exc:
            raise Overloaded(f"{url} is at its limit: {_reason(exc)}") from exc
        except (openai.APIConnectionError, openai.InternalServerError) as exc:
            worked = False
            raise Unavailable(f"{url} fails: {_reason(exc)}") from exc
        except (openai.OpenAIError, httpx2.HTTPError) as exc:
            worked = False
            raise GenerationError(f"{url}: {_reason(exc)}") from exc
        finally:
            self._breaker.end(worked)


def _piece(text: str | None, usage: Any) -> GeneratedPiece:
    counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return GeneratedPiece(text or "", *counts)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
