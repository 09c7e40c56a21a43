"""The answering logic: one coroutine over `retrieve` and `generate`.

Service, command line and evaluation run this same code. Knows modes, prompts and the order of
the steps; knows nothing of Ray, HTTP or models, which come in as the protocols `Retrieve` and
`Generate`.

| mode | passages | weights |
|---|---|---|
| `closed_book` | none | base model, or the adapter that the request names |
| `rag` | retrieved | base model |
| `raft` | retrieved | the adapter that the request names, else the default one |
| `auto` | retrieved, used if the rule says so | chosen per question by `rayraft.router` |
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from rayraft.answer_text import AnswerStream, final_text
from rayraft.errors import GenerationError, InputError, NotFoundError
from rayraft.prompt_budget import PromptBudget, fit_passages
from rayraft.prompts import answer_messages, find_citations, parse_answer
from rayraft.protocols import (
    AdapterRef,
    AskRequest,
    Generate,
    GeneratedPiece,
    Retrieve,
    Retrieved,
)
from rayraft.records import MODES, Answer, Mode, Passage, Usage
from rayraft.router import RouterConfig, choose_route, route_features

__all__ = [
    "AdapterRef",
    "AnswerSettings",
    "AskRequest",
    "Generate",
    "GeneratedPiece",
    "Retrieve",
    "Retrieved",
    "answer",
    "answer_stream",
]


@dataclass(frozen=True)
class AnswerSettings:
    """What is the same for all questions of a service or an evaluation."""

    budget: PromptBudget = field(default_factory=PromptBudget)
    router: RouterConfig = field(default_factory=RouterConfig)


@dataclass(frozen=True)
class _Plan:
    """What will be shown to which weights, and why."""

    mode: Mode
    route: str = ""
    adapter: str | None = None
    passages: tuple[Passage, ...] = ()
    kb_version: int | None = None
    timings_ms: tuple[tuple[str, float], ...] = ()


async def answer(
    request: AskRequest,
    retrieve: Retrieve,
    generate: Generate,
    default_adapter: AdapterRef | None = None,
    settings: AnswerSettings | None = None,
) -> Answer:
    """The answer to one question; raises as `answer_stream`."""
    stream = answer_stream(request, retrieve, generate, default_adapter, settings)
    async for item in stream:
        if isinstance(item, Answer):
            return item
    raise GenerationError("the answer stream ended without an answer")


async def answer_stream(
    request: AskRequest,
    retrieve: Retrieve,
    generate: Generate,
    default_adapter: AdapterRef | None = None,
    settings: AnswerSettings | None = None,
) -> AsyncIterator[str | Answer]:
    """Pieces of the answer's text as they become certain, then the whole `Answer`.

    Raises:
        NotFoundError: The mode is unknown, or `raft` is asked for and there is no adapter.
        InputError: An adapter is named for a mode that uses none.
    """
    began = time.perf_counter()
    settings = settings or AnswerSettings()
    plan = await _plan(request, retrieve, default_adapter, settings)
    passages = fit_passages(request.question, plan.passages, settings.budget)
    messages = answer_messages(request.question, passages)
    stream = AnswerStream([passage.text for passage in passages])
    usage = Usage()
    generating = time.perf_counter()
    async for piece in generate(messages, plan.adapter, request.max_new_tokens):
        usage = _add(usage, piece)
        if delta := stream.feed(piece.text):
            yield delta
    timings = {
        "route": 0.0,
        "retrieve": 0.0,
        **dict(plan.timings_ms),
        "generate": _ms_since(generating),
        "total": _ms_since(began),
    }
    result = _finish(replace(plan, passages=tuple(passages)), stream.raw, usage, timings)
    if rest := stream.finish(result.text):
        yield rest
    yield result


async def _plan(
    request: AskRequest,
    retrieve: Retrieve,
    default: AdapterRef | None,
    settings: AnswerSettings,
) -> _Plan:
    mode = _known_mode(request.mode)
    if mode == "rag" and request.adapter is not None:
        raise InputError(f"adapter={request.adapter!r}: mode rag uses the base model; use raft")
    if mode == "closed_book":
        return _Plan(mode, adapter=request.adapter)
    adapter = _chosen_adapter(request, default)
    if mode == "raft" and adapter is None:
        raise NotFoundError(
            "mode raft needs an adapter and none is published; train one or use rag"
        )
    began = time.perf_counter()
    found = await retrieve(
        request.question, request.k, request.where, request.groups, request.min_kb_version
    )
    retrieved = ("retrieve", _ms_since(began))
    if mode != "auto":
        weights = adapter.adapter_id if adapter and mode == "raft" else None
        return _Plan(mode, "", weights, tuple(found.passages), found.kb_version, (retrieved,))
    return _route(request, found, adapter, settings.router, retrieved)


def _route(
    request: AskRequest,
    found: Retrieved,
    adapter: AdapterRef | None,
    config: RouterConfig,
    retrieved: tuple[str, float],
) -> _Plan:
    began = time.perf_counter()
    features = route_features(request.question, found.passages, found.kb_version, adapter, config)
    route = choose_route(features, config)
    return _Plan(
        mode=route.mode,
        route=route.reason,
        adapter=adapter.adapter_id if adapter and route.mode != "rag" else None,
        passages=() if route.mode == "closed_book" else tuple(found.passages),
        kb_version=found.kb_version,
        timings_ms=(retrieved, ("route", _ms_since(began))),
    )


def _finish(plan: _Plan, raw: str, usage: Usage, timings_ms: dict[str, float]) -> Answer:
    parsed = parse_answer(raw)
    citations = find_citations(parsed.quotes, plan.passages)
    # The quote is the likeliest place for the answer's spelling, then the passages as shown.
    sources = [citation.quote for citation in citations] + [p.text for p in plan.passages]
    return Answer(
        text=final_text(raw, sources),
        raw=raw,
        abstained=parsed.abstained,
        quotes=parsed.quotes,
        citations=citations,
        passages=list(plan.passages),
        mode=plan.mode,
        route=plan.route,
        kb_version=plan.kb_version,
        adapter=plan.adapter,
        timings_ms=timings_ms,
        usage=usage,
    )


def _known_mode(mode: str) -> Mode:
    for known in MODES:
        if mode == known:
            return known
    raise NotFoundError(f"mode {mode!r} does not exist; modes: {', '.join(MODES)}")


def _chosen_adapter(request: AskRequest, default: AdapterRef | None) -> AdapterRef | None:
    if request.adapter is None:
        return default
    if default is not None and default.adapter_id == request.adapter:
        return default
    return AdapterRef(request.adapter)


def _add(usage: Usage, piece: GeneratedPiece) -> Usage:
    return Usage(
        prompt_tokens=max(usage.prompt_tokens, piece.prompt_tokens),
        completion_tokens=max(usage.completion_tokens, piece.completion_tokens),
    )


def _ms_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
