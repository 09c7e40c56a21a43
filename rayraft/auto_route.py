"""Mode `auto` with a learned router: look, choose, and say why.

It retrieves and, where the router wants it, writes a closed-book draft at the same time; then the
router chooses. A draft that is chosen is the answer: nothing is written twice.
"""

import asyncio
import time
from dataclasses import dataclass, field

from rayraft.arms import Arm
from rayraft.deadlines import within
from rayraft.learned_router import Choice, LearnedRouter
from rayraft.prompts import answer_messages, parse_answer
from rayraft.protocols import (
    AdapterRef,
    AskRequest,
    Generate,
    GeneratedPiece,
    GenerateRequest,
    Mu,
    Retrieve,
    View,
)
from rayraft.records import Passage, Routing
from rayraft.route_features import (
    Features,
    draft_features,
    question_features,
    retrieval_features,
)


@dataclass(frozen=True)
class LearnedRoute:
    """What will be shown to which weights, and why."""

    arm: Arm
    adapter: str | None
    passages: tuple[Passage, ...]
    kb_version: int
    reason: str
    routing: Routing
    timings_ms: dict[str, float] = field(default_factory=dict)
    draft: GeneratedPiece | None = None
    is_draft: bool = False


@dataclass(frozen=True)
class _Seen:
    """What there is before the choice."""

    passages: tuple[Passage, ...]
    kb_version: int
    draft: GeneratedPiece | None
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class LookSeams:
    """What looking and choosing need."""

    retrieve: Retrieve
    generate: Generate
    router: LearnedRouter
    mu: Mu
    """Where the request says none."""


async def choose_learned(
    request: AskRequest, seams: LookSeams, adapter: AdapterRef | None
) -> LearnedRoute:
    """The router's choice for one question."""
    router = seams.router
    seen = await _look(request, router, seams.retrieve, seams.generate)
    began = time.perf_counter()
    trained = None
    if adapter is not None:
        trained = seen.kb_version if adapter.kb_version is None else adapter.kb_version
    # As many passages as the router was fitted on: more would shift every feature.
    features = known_features(request.question, seen.passages[: router.k], seen, trained)
    choice = router.choose(features, request.mu if request.mu is not None else seams.mu)
    arm = choice.arm.arm
    shown = () if arm.mode == "closed_book" else seen.passages[: min(arm.k or request.k, request.k)]
    is_draft = (
        seen.draft is not None
        and arm.mode == "closed_book"
        and choice.arm.adapter == router.draft_adapter
    )
    return LearnedRoute(
        arm=arm,
        adapter=choice.arm.adapter,
        passages=shown,
        kb_version=seen.kb_version,
        reason=describe(choice),
        routing=_routing(router, choice, features),
        timings_ms={**seen.timings_ms, "route": _ms_since(began)},
        draft=seen.draft,
        is_draft=is_draft,
    )


def known_features(
    question: str, passages: tuple[Passage, ...], seen: _Seen, trained: int | None
) -> Features:
    """All features of one question."""
    features = question_features(question)
    features |= retrieval_features(question, passages, seen.kb_version, trained)
    if seen.draft is not None:
        parsed = parse_answer(seen.draft.text)
        features |= draft_features(parsed.text, parsed.abstained, seen.draft.mean_logprob, passages)
    return features


def describe(choice: Choice) -> str:
    """The choice in words, with its numbers."""
    label = choice.arm.label
    others = {name: quality for name, quality in choice.expected.items() if name != label}
    text = f"{label} promises {choice.expected[label]:.2f} at cost {choice.arm.cost:.2f}"
    if others:
        best = max(others, key=lambda name: others[name])
        text += f", {best} {others[best]:.2f} at {choice.costs[best]:.2f}"
    if choice.why:
        text += "; " + ", ".join(f"{name} {gain:+.2f}" for name, gain in choice.why[:3])
    return text


async def _look(
    request: AskRequest, router: LearnedRouter, retrieve: Retrieve, generate: Generate
) -> _Seen:
    timings: dict[str, float] = {}

    async def search() -> tuple[tuple[Passage, ...], int]:
        began = time.perf_counter()
        async with within(request.deadline_at, "retrieval"):
            found = await retrieve(
                request.question,
                max(request.k, router.k),
                request.where,
                request.groups,
                request.min_kb_version,
            )
        timings["retrieve"] = _ms_since(began)
        return tuple(found.passages), found.kb_version

    async def write() -> GeneratedPiece | None:
        if not router.draft:
            return None
        began = time.perf_counter()
        draft = await _draft(request, router, generate)
        timings["draft"] = _ms_since(began)
        return draft

    (passages, version), draft = await asyncio.gather(search(), write())
    return _Seen(passages, version, draft, timings)


async def _draft(request: AskRequest, router: LearnedRouter, generate: Generate) -> GeneratedPiece:
    """A whole closed-book output."""
    text, last = "", GeneratedPiece("")
    messages = answer_messages(request.question, [])
    view = View(messages, router.draft_adapter)
    wanted = GenerateRequest((view,), request.max_new_tokens, deadline_at=request.deadline_at)
    async for piece in generate(wanted):
        text, last = text + piece.text, piece
    return GeneratedPiece(text, last.prompt_tokens, last.completion_tokens, last.mean_logprob)


def _routing(router: LearnedRouter, choice: Choice, features: Features) -> Routing:
    return Routing(
        chosen_by="router",
        router=router.name,
        mu=choice.mu,
        expected=choice.expected,
        costs=choice.costs,
        why=choice.why,
        features={name: round(value, 4) for name, value in features.items()},
        clipped=choice.clipped,
        missing=choice.missing,
    )


def _ms_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
