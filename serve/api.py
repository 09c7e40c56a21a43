"""The OpenAI-compatible HTTP API over a `Service`; knows nothing of Ray Serve's deployments."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response, StreamingResponse

from rayraft.answering import AskRequest
from rayraft.errors import GenerationError, NotFoundError
from rayraft.feedback import Feedback
from rayraft.records import Answer, Document
from serve.body_limit import BodyLimit
from serve.config import ApiConfig
from serve.errors import Forbidden
from serve.http_errors import add_error_handlers, stream_error
from serve.responses import (
    ChatReply,
    document_body,
    embedding_list,
    event,
    model_list,
    search_result,
)
from serve.schemas import (
    EMBEDDING_MODELS,
    ChatRequest,
    DocumentBody,
    EmbeddingRequest,
    FeedbackBody,
    SearchRequest,
    parse_model,
)
from serve.service import Search, Service

logger = logging.getLogger(__name__)

T = TypeVar("T")
_DOCUMENT = "/v1/documents/{document_id:path}"


def create_api(service: Service, config: ApiConfig) -> FastAPI:
    """The ASGI application."""
    api = FastAPI(title="RayRAFT", redoc_url=None)
    routes = _Routes(service, config)
    api.post("/v1/chat/completions", response_model=None)(routes.chat)
    api.get("/v1/models")(routes.models)
    api.post("/v1/embeddings", response_model=None)(routes.embeddings)
    api.post("/v1/search")(routes.search)
    api.put(_DOCUMENT)(routes.put_document)
    api.get(_DOCUMENT)(routes.get_document)
    api.delete(_DOCUMENT)(routes.delete_document)
    api.post("/v1/feedback")(routes.feedback)
    api.get("/healthz")(routes.healthz)
    api.get("/readyz")(routes.readyz)
    add_error_handlers(api)
    api.add_middleware(BodyLimit, max_bytes=config.max_body_bytes)
    return api


class _Routes:
    """One method per path."""

    def __init__(self, service: Service, config: ApiConfig) -> None:
        self._service = service
        self._config = config

    async def chat(self, request: ChatRequest) -> Response:
        """The answer to the last user message; earlier turns are not read yet."""
        ask = self._ask_request(request)
        if request.stream:
            return await self._chat_stream(request, ask)
        answer = await self._in_time(self._service.answer(ask))
        return JSONResponse(ChatReply(request.model).whole(answer, request.rayraft.passages))

    async def models(self) -> dict[str, Any]:
        """The modes, the embedder and every published adapter."""
        return model_list(await self._in_time(self._service.adapters()))

    async def embeddings(self, request: EmbeddingRequest) -> Response:
        """Vectors of the knowledge base's embedder."""
        if request.model not in EMBEDDING_MODELS:
            raise NotFoundError(
                f"model {request.model[:200]!r} does not embed; use {EMBEDDING_MODELS[0]}"
            )
        vectors, tokens = await self._in_time(self._service.embed(request.texts()))
        return JSONResponse(embedding_list(vectors, tokens, request.encoding_format))

    async def search(self, request: SearchRequest) -> dict[str, Any]:
        """Passages, best first."""
        search = Search.of(request, self._groups(request.groups))
        return search_result(await self._in_time(self._service.search(search)))

    async def put_document(self, document_id: str, body: DocumentBody) -> dict[str, Any]:
        """Adds the document or replaces it as a whole."""
        self._check_writable()
        document = Document(document_id=document_id, **body.model_dump())
        written = self._service.put_document(document, self._groups(None))
        return {"document_id": document_id, "kb_version": await self._in_time(written)}

    async def get_document(self, document_id: str) -> dict[str, Any]:
        """The document in the latest version."""
        found = self._service.document(document_id, self._groups(None))
        return document_body(*await self._in_time(found))

    async def delete_document(self, document_id: str) -> dict[str, Any]:
        """Removes the document."""
        self._check_writable()
        removed = self._service.delete_document(document_id, self._groups(None))
        version = await self._in_time(removed)
        return {"document_id": document_id, "deleted": True, "kb_version": version}

    async def feedback(self, body: FeedbackBody) -> dict[str, Any]:
        """Keeps a person's word on an answer, for the next refresh."""
        if not self._config.allow_feedback:
            raise Forbidden("this service does not take feedback (api.allow_feedback=false)")
        groups = self._groups(body.groups)
        given = Feedback(**body.model_dump(exclude={"groups"}), groups=list(groups))
        version = await self._in_time(self._service.add_feedback(given))
        return {"feedback_version": version}

    async def healthz(self) -> dict[str, str]:
        """Says that this process answers."""
        return {"status": "ok"}

    async def readyz(self) -> dict[str, Any]:
        """Says that every part works: the generator has to write a token."""
        return {"status": "ready", "kb_version": await self._in_time(self._service.ready())}

    def _ask_request(self, request: ChatRequest) -> AskRequest:
        options = request.rayraft
        mode, adapter = parse_model(request.model, options.mode)
        asked = request.max_completion_tokens or request.max_tokens
        limit = self._config.max_new_tokens
        return AskRequest(
            question=request.question(),
            mode=mode,
            adapter=adapter,
            k=options.k,
            where=options.where,
            groups=self._groups(options.groups),
            min_kb_version=options.min_kb_version,
            max_new_tokens=min(asked or limit, limit),
            require_grounding=options.require_grounding,
            deadline_at=self._deadline(request),
            retrieval_weight=options.retrieval_weight,
            reading_adapter=options.reading_adapter,
            mu=options.mu,
        )

    def _deadline(self, request: ChatRequest) -> float | None:
        """When every stage gives up; a stream has no end of its own, only a time for each piece."""
        limit = None if request.stream else self._config.request_timeout_s
        given = [each for each in (limit, request.rayraft.timeout_s) if each is not None]
        return time.time() + min(given) if given else None

    def _groups(self, claimed: list[str] | None) -> tuple[str, ...]:
        """The groups of a request; what a client claims counts only if it is to be trusted."""
        if claimed and not self._config.trust_client_groups:
            raise Forbidden("groups: this service does not take them from requests")
        return (*self._config.default_groups, *(claimed or ()))

    def _check_writable(self) -> None:
        if not self._config.allow_writes:
            raise Forbidden("this service does not take documents (api.allow_writes=false)")

    async def _chat_stream(self, request: ChatRequest, ask: AskRequest) -> Response:
        items = self._service.answer_stream(ask)
        # The first item decides between an error status and a stream.
        first = await self._in_time(anext(items))
        frames = self._frames(request, first, items)
        return StreamingResponse(
            frames, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )

    async def _frames(
        self, request: ChatRequest, first: str | Answer, items: AsyncIterator[str | Answer]
    ) -> AsyncIterator[bytes]:
        reply = ChatReply(request.model)
        yield event(reply.first())
        item = first
        try:
            while isinstance(item, str):
                yield event(reply.delta(item))
                item = await self._in_time(anext(items))
            yield event(reply.last(item, request.rayraft.passages))
            if request.stream_options and request.stream_options.include_usage:
                yield event(reply.usage(item))
        except StopAsyncIteration:
            yield event(stream_error(GenerationError("the answer ended early")))
        except Exception as exc:
            # The status is sent already: the client can only be told inside the stream.
            logger.warning("a stream failed: %s", exc)
            yield event(stream_error(exc))
        finally:
            await _close(items)
        yield event("[DONE]")

    async def _in_time(self, awaited: Awaitable[T]) -> T:
        async with asyncio.timeout(self._config.request_timeout_s):
            return await awaited


async def _close(items: AsyncIterator[Any]) -> None:
    """Stops the work behind a stream that is not read to its end."""
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()
