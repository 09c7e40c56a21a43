"""The deployments as plain classes; `serve.app.build_app` alone turns them into deployments.

They load what they serve, put blocking work into threads and translate to the handles' calls;
what they compute is in `rayraft.answering`, `data_pipelines.retrieval` and `serve.engine`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rayraft.answering import (
    AnswerSettings,
    AskRequest,
    GeneratedPiece,
    Retrieved,
    answer,
    answer_stream,
)
from rayraft.prompt_budget import PromptBudget
from rayraft.prompts import Message
from rayraft.records import Answer, Document
from serve.access import check_may_replace, read_document
from serve.adapters import AdapterCatalog, AdapterLoader
from serve.config import AnsweringConfig, ApiConfig, GeneratorConfig, RetrieverConfig, WriterConfig
from serve.engine import TextEngine
from serve.follower import Follower
from serve.handles import HandleService, result_of, stream_of
from serve.service import FloatArray, Search

logger = logging.getLogger(__name__)


class Retriever:
    """Searches the knowledge base and follows its versions."""

    def __init__(self, config: RetrieverConfig, store: str) -> None:
        from data_pipelines.kb import KnowledgeBase
        from data_pipelines.retrieval import HybridRetriever
        from rayraft.models.embedder import Embedder

        kb = KnowledgeBase.open(store)
        self._config = config
        self._store = store
        self._embedder = Embedder.load(kb.embedder.name, threads=config.threads)
        self._retriever = HybridRetriever(kb, self._embedder)
        self._follower = Follower(self._retriever.refresh, config.poll_s)
        self._threads = ThreadPoolExecutor(config.threads, thread_name_prefix="search")

    async def search(self, search: Search) -> Retrieved:
        """Passages that the groups may read, in the version asked for or a later one."""
        await self._follower.wait_for(search.min_kb_version, self._config.wait_s)
        return await self._in_thread(self._search, search)

    async def embed(self, texts: list[str]) -> tuple[FloatArray, int]:
        """float32 [n, dim], L2-normalised, and the tokens read."""
        vectors = await self._in_thread(self._embedder.embed, texts)
        counts = await self._in_thread(self._embedder.count_tokens, texts)
        return vectors, int(counts.sum())

    async def document(self, document_id: str, groups: Sequence[str]) -> tuple[Document, int]:
        """The document in the latest version, and that version."""
        return await asyncio.to_thread(self._document, document_id, groups)

    async def version(self) -> int:
        """The version that searches see."""
        return self._follower.version

    async def check_health(self) -> None:
        """Searches once."""
        if not self._follower.is_alive():
            raise RuntimeError("the follower of the knowledge base has ended")
        await self._in_thread(self._search, Search("health", 1))

    def _search(self, search: Search) -> Retrieved:
        # Read first: passages may be newer than the version named, never older.
        version = self._retriever.version
        (passages,) = self._retriever.search(
            [search.query],
            search.k,
            where=search.where,
            groups=search.groups,
            method=search.method,  # type: ignore[arg-type]  # checked by search
        )
        return Retrieved(passages, version)

    def _document(self, document_id: str, groups: Sequence[str]) -> tuple[Document, int]:
        from data_pipelines.kb import KnowledgeBase

        kb = KnowledgeBase.open(self._store)
        return read_document(kb, document_id, groups), kb.version

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


class Generator:
    """Writes outputs with the base model and the published adapters."""

    def __init__(self, config: GeneratorConfig, store: str) -> None:
        from rayraft.models.text import TextModel

        model = TextModel.load(
            config.base_model, device=config.device, dtype=config.dtype, threads=config.threads
        )
        self._engine = TextEngine(
            model,
            AdapterLoader(store),
            max_batch_size=config.max_batch_size,
            max_loaded_adapters=config.max_loaded_adapters,
        )

    async def generate(
        self, messages: list[Message], adapter: str | None, max_new_tokens: int
    ) -> GeneratedPiece:
        """The whole output; concurrent calls share forward passes."""
        return await self._engine.generate(messages, adapter, max_new_tokens)

    async def stream(
        self, messages: list[Message], adapter: str | None, max_new_tokens: int
    ) -> AsyncIterator[GeneratedPiece]:
        """The output piece by piece."""
        async for piece in self._engine.stream(messages, adapter, max_new_tokens):
            yield piece

    async def ready(self) -> bool:
        """True once the model has written a token."""
        await self._engine.check()
        return True

    async def check_health(self) -> None:
        """Writes one token."""
        await self._engine.check()


class Writer:
    """Changes the knowledge base, one change at a time."""

    def __init__(self, config: WriterConfig, store: str) -> None:
        from data_pipelines.kb import KnowledgeBase
        from rayraft.models.embedder import Embedder

        self._kb = KnowledgeBase.open(store)
        self._embedder = Embedder.load(self._kb.embedder.name, threads=config.threads)
        self._lock = asyncio.Lock()

    async def put(self, document: Document, groups: Sequence[str]) -> int:
        """Adds or replaces the document; returns the version that holds it."""
        async with self._lock:
            return await asyncio.to_thread(self._put, document, groups)

    async def delete(self, document_id: str, groups: Sequence[str]) -> int:
        """Removes the document; returns the version without it."""
        async with self._lock:
            return await asyncio.to_thread(self._delete, document_id, groups)

    async def version(self) -> int:
        """The latest version."""
        return await asyncio.to_thread(self._kb.snapshot().checkout_latest)

    async def check_health(self) -> None:
        """Reads the latest version from the store."""
        await self.version()

    def _put(self, document: Document, groups: Sequence[str]) -> int:
        from data_pipelines.ingest import ingest_documents

        self._kb.checkout_latest()
        check_may_replace(self._kb, document.document_id, groups)
        return ingest_documents([document], self._kb, self._embedder)

    def _delete(self, document_id: str, groups: Sequence[str]) -> int:
        from data_pipelines.schema import chunk_schema

        self._kb.checkout_latest()
        read_document(self._kb, document_id, groups)
        nothing = chunk_schema(self._kb.embedder.dim).empty_table()
        return self._kb.commit(nothing, [document_id])


class Router:
    """Runs the answering logic over the retriever's and the generator's handles."""

    def __init__(self, config: AnsweringConfig, store: str, retriever: Any, generator: Any) -> None:
        self._settings = AnswerSettings(PromptBudget(config.max_prompt_tokens), config.rule)
        self._catalog = AdapterCatalog(store, config.default_adapter, config.adapter_poll_s)
        self._retriever = retriever
        self._generator = generator

    async def answer(self, request: AskRequest) -> Answer:
        """The whole answer."""
        default = await asyncio.to_thread(self._catalog.default)
        return await answer(request, self._retrieve, self._generate, default, self._settings)

    async def answer_stream(self, request: AskRequest) -> AsyncIterator[str | Answer]:
        """Pieces of the answer's text, then the answer."""
        default = await asyncio.to_thread(self._catalog.default)
        async for item in answer_stream(
            request, self._retrieve, self._stream, default, self._settings
        ):
            yield item

    async def adapters(self) -> list[str]:
        """Published adapters."""
        return await asyncio.to_thread(self._catalog.adapter_ids)

    async def _retrieve(
        self,
        question: str,
        k: int,
        where: dict[str, Any] | None,
        groups: Sequence[str],
        min_kb_version: int | None,
    ) -> Retrieved:
        search = Search(question, k, where, tuple(groups), min_kb_version)
        found: Retrieved = await result_of(self._retriever.search.remote(search))
        return found

    async def _generate(
        self, messages: list[Message], adapter: str | None, max_new_tokens: int
    ) -> AsyncIterator[GeneratedPiece]:
        yield await result_of(self._generator.generate.remote(messages, adapter, max_new_tokens))

    async def _stream(
        self, messages: list[Message], adapter: str | None, max_new_tokens: int
    ) -> AsyncIterator[GeneratedPiece]:
        handle = self._generator.options(stream=True)
        async for piece in stream_of(handle.stream.remote(messages, adapter, max_new_tokens)):
            yield piece


class Api:
    """The HTTP ingress."""

    def __init__(
        self, config: ApiConfig, router: Any, retriever: Any, generator: Any, writer: Any
    ) -> None:
        self._config = config
        self._service = HandleService(router, retriever, generator, writer)

    def __serve_build_asgi_app__(self) -> Any:
        """The ASGI application, made on the replica."""
        from serve.api import create_api

        return create_api(self._service, self._config)
