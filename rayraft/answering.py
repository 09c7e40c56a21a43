"""The answering logic: one coroutine over `retrieve` and `generate`.

Service, command line and evaluation run this same code. Knows modes, prompts and the order of
the steps; knows nothing of Ray, HTTP or models, which come in as the protocols `Retrieve` and
`Generate`. What is shown to which weights is in `rayraft.views`.

| mode | passages | weights |
|---|---|---|
| `closed_book` | none | base model, or the adapter that the request names |
| `rag` | retrieved | base model |
| `raft` | retrieved | the adapter that the request names, else the default one |
| `rag_sequence`, `rag_token` | retrieved, each read by itself | base model or the named adapter |
| `blend` | retrieved, for one of two sides | the other side: the named adapter, else the default |
| `auto` | retrieved, used if the router says so | chosen per question |

`auto` is decided by the learned router (`rayraft.auto_route`) where one fits the adapter, else by
the rule of `rayraft.router`.
"""

import time
from collections.abc import AsyncIterator
from functools import partial

from rayraft.answer_plan import AnswerSettings, Output, Plan, finish, fit_plan, to_generate
from rayraft.answer_text import AnswerStream
from rayraft.auto_route import LearnedRoute, LookSeams, choose_learned
from rayraft.deadlines import within
from rayraft.errors import GenerationError, InputError, NotFoundError
from rayraft.prompts import ABSTAIN, is_supported
from rayraft.protocols import (
    AdapterRef,
    AskRequest,
    Generate,
    GeneratedPiece,
    GenerateRequest,
    Retrieve,
    Retrieved,
)
from rayraft.records import MODES, Answer, Mode, Routing, Usage
from rayraft.router import RouterConfig, choose_route, route_features
from rayraft.views import PASSAGE_MODES

__all__ = [
    "AdapterRef",
    "AnswerSettings",
    "AskRequest",
    "Generate",
    "GenerateRequest",
    "GeneratedPiece",
    "Retrieve",
    "Retrieved",
    "answer",
    "answer_stream",
]


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
    plan = await _plan(request, (retrieve, generate), default_adapter, settings)
    plan = fit_plan(plan, request, settings)
    wanted = to_generate(plan, request, settings.mix)
    stream = AnswerStream(
        [passage.text for passage in plan.passages],
        partial(is_supported, passages=plan.passages) if request.require_grounding else None,
    )
    usage = Usage()
    confidence: float | None = None
    generating = time.perf_counter()
    async for piece in _given(plan.draft) if plan.is_draft else generate(wanted):
        confidence = piece.mean_logprob
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
    result = finish(plan, Output(stream.raw, usage, confidence), timings)
    if request.require_grounding and not result.supported:
        result = result.model_copy(update={"text": ABSTAIN, "abstained": True})
    if rest := stream.finish(result.text):
        yield rest
    yield result


async def _plan(
    request: AskRequest,
    seams: tuple[Retrieve, Generate],
    default: AdapterRef | None,
    settings: AnswerSettings,
) -> Plan:
    retrieve, generate = seams
    mode = _known_mode(request.mode)
    if mode == "rag" and request.adapter is not None:
        raise InputError(f"adapter={request.adapter!r}: mode rag uses the base model; use raft")
    if mode != "blend" and request.reading_adapter is not None:
        raise InputError(f"reading_adapter={request.reading_adapter!r}: for mode blend alone")
    if mode == "closed_book":
        return Plan(mode, adapter=request.adapter)
    adapter = _chosen_adapter(request, default)
    if mode == "raft" and adapter is None:
        raise NotFoundError(
            "mode raft needs an adapter and none is published; train one or use rag"
        )
    learned = settings.learned if mode == "auto" else None
    if learned is not None and learned.adapter == (adapter.adapter_id if adapter else None):
        looked = LookSeams(retrieve, generate, learned, settings.mu)
        return _of_route(await choose_learned(request, looked, adapter))
    began = time.perf_counter()
    async with within(request.deadline_at, "retrieval"):
        found = await retrieve(
            request.question, request.k, request.where, request.groups, request.min_kb_version
        )
    retrieved = ("retrieve", _ms_since(began))
    if mode != "auto":
        weights = request.adapter if mode in PASSAGE_MODES else None
        if adapter and mode in ("raft", "blend"):
            weights = adapter.adapter_id
        return Plan(mode, "", weights, tuple(found.passages), found.kb_version, (retrieved,))
    return _route(request, found, adapter, settings.router, retrieved)


def _route(
    request: AskRequest,
    found: Retrieved,
    adapter: AdapterRef | None,
    config: RouterConfig,
    retrieved: tuple[str, float],
) -> Plan:
    began = time.perf_counter()
    features = route_features(request.question, found.passages, found.kb_version, adapter, config)
    route = choose_route(features, config)
    return Plan(
        mode=route.mode,
        route=route.reason,
        adapter=adapter.adapter_id if adapter and route.mode != "rag" else None,
        passages=() if route.mode == "closed_book" else tuple(found.passages),
        kb_version=found.kb_version,
        timings_ms=(retrieved, ("route", _ms_since(began))),
        routing=Routing(chosen_by="rule"),
    )


def _of_route(route: LearnedRoute) -> Plan:
    return Plan(
        mode=_known_mode(route.arm.mode),
        route=route.reason,
        adapter=route.adapter,
        passages=route.passages,
        kb_version=route.kb_version,
        timings_ms=tuple(route.timings_ms.items()),
        retrieval_weight=route.arm.w,
        routing=route.routing,
        draft=route.draft,
        is_draft=route.is_draft,
    )


async def _given(piece: GeneratedPiece | None) -> AsyncIterator[GeneratedPiece]:
    if piece is not None:
        yield piece


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
