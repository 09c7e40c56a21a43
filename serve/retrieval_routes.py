"""HTTP routes of the models around the generator: search, embeddings and reranking."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from rayraft.errors import NotFoundError
from serve.callers import WITH_KEY, Asking, Caller
from serve.config import ApiConfig
from serve.metrics import Metrics
from serve.openapi import described
from serve.responses import embedding_list, rerank_result, search_result
from serve.schemas import (
    EMBEDDING_MODELS,
    RERANK_MODEL,
    EmbeddingRequest,
    RerankRequest,
    SearchRequest,
)
from serve.service import Search, Service
from serve.waiting import in_time


def retrieval_routes(service: Service, config: ApiConfig, metrics: Metrics) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["retrieval"], dependencies=WITH_KEY)
    routes = _Routes(service, config, metrics)
    router.post("/v1/search", **described("search"))(routes.search)
    router.post("/v1/embeddings", **described("embeddings"))(routes.embeddings)
    router.post("/v1/rerank", **described("rerank"))(routes.rerank)
    return router


class _Routes:
    """One method per route."""

    def __init__(self, service: Service, config: ApiConfig, metrics: Metrics) -> None:
        self._service = service
        self._config = config
        self._metrics = metrics

    async def embeddings(self, request: EmbeddingRequest, caller: Asking) -> Response:
        """Vectors of the knowledge base's embedder."""
        if request.model not in EMBEDDING_MODELS:
            raise NotFoundError(
                f"model {request.model[:200]!r} does not embed; use {EMBEDDING_MODELS[0]}"
            )
        vectors, tokens = await in_time(self._service.embed(request.texts()), self._config)
        self._use("embedding", tokens, caller)
        return JSONResponse(embedding_list(vectors, tokens, request.encoding_format))

    async def rerank(self, request: RerankRequest, caller: Asking) -> dict[str, Any]:
        """How well each document answers the query, best first."""
        if request.model != RERANK_MODEL:
            raise NotFoundError(
                f"model {request.model[:200]!r} does not rerank; use {RERANK_MODEL}"
            )
        texts = request.texts()
        scored = self._service.rerank(request.query, texts)
        scores, tokens = await in_time(scored, self._config)
        self._use("rerank", tokens, caller)
        return rerank_result(request, texts, scores, tokens)

    async def search(self, request: SearchRequest, caller: Asking) -> dict[str, Any]:
        """Passages, best first."""
        search = Search.of(request, caller.groups(request.groups, self._config))
        return search_result(await in_time(self._service.search(search), self._config))

    def _use(self, kind: str, tokens: int, caller: Caller) -> None:
        self._metrics.used(kind, tokens)
        caller.spend(tokens)
