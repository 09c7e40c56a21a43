"""Answers in this process: the service's parts without Ray, for `ask --store`."""

from collections.abc import AsyncIterator
from dataclasses import replace

from data_pipelines.in_process import retrieve_from
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from data_pipelines.published_adapters import fitting_adapters
from rayraft.answering import AskRequest, GeneratedPiece, GenerateRequest, answer
from rayraft.records import Answer
from serve.adapters import AdapterCatalog
from serve.config import AppConfig
from serve.engines import open_engine
from serve.routers import following_routers


async def answer_locally(store: str, settings: AppConfig, request: AskRequest) -> Answer:
    """The answer from a store, by the settings of the service except those of replicas and HTTP.

    Raises:
        NotFoundError: There is no knowledge base, base model, mode or adapter of that name.
    """
    kb = KnowledgeBase.open(store)
    retriever = open_retriever(kb, settings.retriever.retrieval)
    answering = settings.answering
    engine, base_digest = open_engine(settings.generator, store)
    catalog = AdapterCatalog(
        lambda: fitting_adapters(store, base_digest),
        answering.default_adapter,
        answering.adapter_poll_s,
    )

    async def generate(request: GenerateRequest) -> AsyncIterator[GeneratedPiece]:
        yield await engine.generate(request)

    try:
        adapter = catalog.for_request(request)
        learned = None
        if request.mode == "auto":
            routers = following_routers(store, base_digest, catalog, answering)
            learned = routers.router(adapter.adapter_id if adapter else None, request.groups)
        return await answer(
            request,
            retrieve_from(retriever),
            generate,
            adapter,
            replace(answering.answer_settings, learned=learned),
        )
    finally:
        engine.close()
