"""The OpenAI-compatible HTTP API over a `Service`; knows nothing of Ray Serve's deployments."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse

import rayraft
from rayraft.answering import AskRequest
from rayraft.errors import GenerationError, InputError, NotFoundError
from rayraft.records import Answer
from rayraft.tenants import may_use_adapter
from serve.body_limit import BodyLimit
from serve.callers import WITH_KEY, Asking, Caller
from serve.config import ApiConfig
from serve.document_routes import document_routes
from serve.gate import Gate
from serve.http_errors import add_error_handlers, stream_error
from serve.keys import KeyRing
from serve.limits import Limiter
from serve.metrics import Measured, Metrics
from serve.openapi import described
from serve.operation_routes import operation_routes
from serve.peers import DictBoard, Peers
from serve.responses import (
    ChatReply,
    CompletionReply,
    Reply,
    event,
    model_list,
)
from serve.retrieval_routes import retrieval_routes
from serve.schemas import (
    AnswerRequest,
    ChatRequest,
    CompletionRequest,
    parse_model,
)
from serve.service import Service
from serve.waiting import all_or_first_error, in_time

logger = logging.getLogger(__name__)

_ABOUT = "Answers from your documents. Errors have OpenAI's shape; see `docs/serving.md`."


def create_api(
    service: Service,
    config: ApiConfig,
    keys: KeyRing | None = None,
    join: Callable[[Metrics], Peers] | None = None,
) -> FastAPI:
    """The ASGI application.

    Args:
        service: What answers.
        config: Limits and permissions.
        keys: The valid API keys; None lets everybody on this machine in.
        join: Makes this replica known to the others; None for the only one.
    """
    metrics = Metrics()
    peers = join(metrics) if join else Peers(DictBoard(), "only", metrics.text, every_s=0)
    limiter = Limiter(peers.share)
    api = FastAPI(title="RayRAFT", version=rayraft.__version__, description=_ABOUT, redoc_url=None)
    api.include_router(_answer_routes(service, config, metrics))
    api.include_router(retrieval_routes(service, config, metrics))
    api.include_router(document_routes(service, config, metrics))
    api.include_router(operation_routes(service, config, peers))
    add_error_handlers(api)
    # The last one added is the first to see a request.
    api.add_middleware(
        BodyLimit, max_bytes=config.max_body_bytes, within_s=config.request_timeout_s
    )
    api.add_middleware(Gate, keys=keys, limiter=limiter, max_in_flight=config.max_in_flight)
    api.add_middleware(Measured, metrics=metrics)
    return api


def _answer_routes(service: Service, config: ApiConfig, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["answers"], dependencies=WITH_KEY)
    routes = _Routes(service, config, metrics)
    router.post("/v1/chat/completions", **described("chat"))(routes.chat)
    router.post("/v1/completions", **described("completions"))(routes.completions)
    router.get("/v1/models", **described("models"))(routes.models)
    return router


class _Routes:
    """One method per path."""

    def __init__(self, service: Service, config: ApiConfig, metrics: Metrics) -> None:
        self._service = service
        self._config = config
        self._metrics = metrics

    async def chat(self, request: ChatRequest, caller: Asking) -> Response:
        """The answer to the last user message; earlier turns are not read yet."""
        ask = self._ask_request(request, request.question(), caller)
        reply = ChatReply(request.model)
        if request.stream:
            return await self._stream(request, reply, ask, caller)
        answer = await self._answer(ask, caller)
        return JSONResponse(reply.whole(answer, request.rayraft.passages))

    async def completions(self, request: CompletionRequest, caller: Asking) -> Response:
        """The answer to each prompt, in OpenAI's older shape."""
        asks = [self._ask_request(request, text, caller) for text in request.questions()]
        reply = CompletionReply(request.model)
        if request.stream:
            if len(asks) != 1:
                raise InputError(f"stream=true: takes one prompt, not {len(asks)}")
            return await self._stream(request, reply, asks[0], caller)
        answers = await all_or_first_error([self._answer(ask, caller) for ask in asks])
        return JSONResponse(reply.whole(answers, request.rayraft.passages))

    async def models(self, caller: Asking) -> dict[str, Any]:
        """The modes, the embedder, the reranker and every adapter that this key may use."""
        groups = caller.groups(None, self._config)
        return model_list(await in_time(self._service.adapters(groups), self._config))

    def _ask_request(self, request: AnswerRequest, question: str, caller: Caller) -> AskRequest:
        options = request.rayraft
        mode, adapter = parse_model(request.model, options.mode)
        groups = caller.groups(options.groups, self._config)
        for named in (adapter, options.reading_adapter):
            if named is not None and not may_use_adapter(named, groups):
                raise NotFoundError(f"adapter {named!r:.100} does not exist")
        asked = request.max_completion_tokens or request.max_tokens
        limit = self._config.max_new_tokens
        return AskRequest(
            question=question,
            mode=mode,
            adapter=adapter or (caller.default_adapter if mode in ("raft", "auto") else None),
            k=options.k,
            where=options.where,
            groups=groups,
            min_kb_version=options.min_kb_version,
            max_new_tokens=min(asked or limit, limit),
            require_grounding=options.require_grounding,
            deadline_at=self._deadline(request),
            retrieval_weight=options.retrieval_weight,
            reading_adapter=options.reading_adapter,
            mu=options.mu,
            use_cache=options.cache,
        )

    def _deadline(self, request: AnswerRequest) -> float | None:
        """When every stage gives up; a stream has no end of its own, only a time for each piece."""
        limit = None if request.stream else self._config.request_timeout_s
        given = [each for each in (limit, request.rayraft.timeout_s) if each is not None]
        return time.time() + min(given) if given else None

    async def _answer(self, ask: AskRequest, caller: Caller) -> Answer:
        answer = await in_time(self._service.answer(ask), self._config)
        self._account(answer, caller)
        return answer

    async def _stream(
        self, request: AnswerRequest, reply: Reply, ask: AskRequest, caller: Caller
    ) -> Response:
        items = self._service.answer_stream(ask)
        # The first item decides between an error status and a stream.
        first = await in_time(_next(items), self._config)
        frames = self._frames(request, reply, self._accounted(first, items, caller))
        return StreamingResponse(
            frames, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )

    async def _accounted(
        self, first: str | Answer, items: AsyncIterator[str | Answer], caller: Caller
    ) -> AsyncIterator[str | Answer]:
        """The items; a client that leaves early pays for the pieces that it got."""
        pieces, item = 0, first
        try:
            while isinstance(item, str):
                pieces += 1
                yield item
                item = await in_time(_next(items), self._config)
            self._account(item, caller)
            pieces = 0
            yield item
        finally:
            caller.spend(pieces)
            await _close(items)

    async def _frames(
        self, request: AnswerRequest, reply: Reply, items: AsyncIterator[str | Answer]
    ) -> AsyncIterator[bytes]:
        yield event(reply.first())
        try:
            async for item in items:
                if isinstance(item, str):
                    yield event(reply.delta(item))
                    continue
                yield event(reply.last(item, request.rayraft.passages))
                if request.stream_options and request.stream_options.include_usage:
                    yield event(reply.usage(item))
        except Exception as exc:
            # The status is sent already: the client can only be told inside the stream.
            logger.warning("a stream failed: %s", exc)
            yield event(stream_error(exc))
        finally:
            await _close(items)
        yield event("[DONE]")

    def _account(self, answer: Answer, caller: Caller) -> None:
        self._metrics.answered(answer)
        caller.spend(answer.usage.prompt_tokens + answer.usage.completion_tokens)


async def _next(items: AsyncIterator[str | Answer]) -> str | Answer:
    item = await anext(items, None)
    if item is None:
        raise GenerationError("the answer ended early")
    return item


async def _close(items: AsyncIterator[Any]) -> None:
    """Stops the work behind a stream that is not read to its end."""
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()
