"""Answers in this process: the service's parts without Ray, for `ask --store`."""

from collections.abc import AsyncIterator

from data_pipelines.in_process import retrieve_from
from data_pipelines.kb import KnowledgeBase
from data_pipelines.published_adapters import fitting_adapters
from data_pipelines.retrieval import HybridRetriever
from rayraft.answering import AskRequest, GeneratedPiece, answer
from rayraft.models.embedder import Embedder
from rayraft.models.text import TextModel
from rayraft.prompts import Message
from rayraft.records import Answer
from serve.adapters import LATEST, AdapterCatalog, AdapterLoader
from serve.engine import TextEngine


async def answer_locally(store: str, base_model: str, request: AskRequest) -> Answer:
    """The answer from a store.

    Raises:
        NotFoundError: There is no knowledge base, base model, mode or adapter of that name.
    """
    kb = KnowledgeBase.open(store)
    retriever = HybridRetriever(kb, Embedder.load(kb.embedder.name))
    model = TextModel.load(base_model)
    engine = TextEngine(model, AdapterLoader(store))
    catalog = AdapterCatalog(lambda: fitting_adapters(store, model.base_digest), LATEST, 60)

    async def generate(
        messages: list[Message], adapter: str | None, max_new_tokens: int
    ) -> AsyncIterator[GeneratedPiece]:
        yield await engine.generate(messages, adapter, max_new_tokens)

    try:
        return await answer(
            request, retrieve_from(retriever), generate, catalog.default(request.adapter)
        )
    finally:
        engine.close()
