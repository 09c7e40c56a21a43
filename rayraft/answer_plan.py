"""What is settled before an answer is written, and what is made of the output.

Knows modes, prompts and parsing; knows nothing of routing or models.
"""

from dataclasses import dataclass, field, replace

from rayraft.answer_text import final_text
from rayraft.learned_router import LearnedRouter
from rayraft.prompt_budget import PromptBudget
from rayraft.prompts import all_quoted, find_citations, parse_answer
from rayraft.protocols import AskRequest, GeneratedPiece, GenerateRequest, Mu
from rayraft.records import Answer, Mode, Passage, Routing, Usage
from rayraft.router import RouterConfig
from rayraft.views import MixConfig, Sides, combine_of, fit_shown, make_views


@dataclass(frozen=True)
class AnswerSettings:
    """What is the same for all questions of a service or an evaluation."""

    budget: PromptBudget = field(default_factory=PromptBudget)
    router: RouterConfig = field(default_factory=RouterConfig)
    """The rule, where no learned router fits."""
    mix: MixConfig = field(default_factory=MixConfig)
    learned: LearnedRouter | None = None
    mu: Mu = "quality"
    """For `learned`, where the request says none."""


@dataclass(frozen=True)
class Plan:
    """What will be shown to which weights, and why."""

    mode: Mode
    route: str = ""
    adapter: str | None = None
    passages: tuple[Passage, ...] = ()
    kb_version: int | None = None
    timings_ms: tuple[tuple[str, float], ...] = ()
    retrieval_weight: float | None = None
    """Of mode blend; None takes the request's, else the configured one."""
    routing: Routing = field(default_factory=Routing)
    draft: GeneratedPiece | None = None
    """A closed-book output that the router asked for."""
    is_draft: bool = False
    """Whether the draft is the answer."""


@dataclass(frozen=True)
class Output:
    """What the model wrote."""

    raw: str
    usage: Usage
    mean_logprob: float | None = None


def fit_plan(plan: Plan, request: AskRequest, settings: AnswerSettings) -> Plan:
    """The plan with the passages that fit, and with the weight that counts."""
    fitting = fit_shown(plan.mode, request.question, plan.passages, settings.budget)
    weight = None
    if plan.mode == "blend":
        given = (plan.retrieval_weight, request.retrieval_weight, settings.mix.retrieval_weight)
        weight = next(each for each in given if each is not None)
    return replace(plan, passages=tuple(fitting), retrieval_weight=weight)


def to_generate(plan: Plan, request: AskRequest, mix: MixConfig) -> GenerateRequest:
    """What is to be written for a fitted plan."""
    reading = request.reading_adapter if plan.mode == "blend" else plan.adapter
    weight = mix.retrieval_weight if plan.retrieval_weight is None else plan.retrieval_weight
    sides = Sides(plan.adapter, reading, weight, mix.cosine_scale)
    views = make_views(plan.mode, request.question, plan.passages, sides)
    combine = combine_of(plan.mode)
    return GenerateRequest(views, request.max_new_tokens, combine, request.deadline_at)


def finish(plan: Plan, output: Output, timings_ms: dict[str, float]) -> Answer:
    """The record of an answer, from the model's whole output."""
    raw = output.raw
    usage, routing = _counted(plan, output.usage)
    parsed = parse_answer(raw)
    citations = find_citations(parsed.quotes, plan.passages)
    # The quote is the likeliest place for the answer's spelling, then the passages as shown.
    sources = [citation.quote for citation in citations] + [p.text for p in plan.passages]
    return Answer(
        text=final_text(raw, sources),
        raw=raw,
        abstained=parsed.abstained,
        supported=all_quoted(parsed, citations),
        quotes=parsed.quotes,
        citations=citations,
        passages=list(plan.passages),
        mode=plan.mode,
        route=plan.route,
        kb_version=plan.kb_version,
        adapter=plan.adapter,
        retrieval_weight=plan.retrieval_weight,
        timings_ms=timings_ms,
        usage=usage,
        mean_logprob=output.mean_logprob,
        routing=routing,
    )


def _counted(plan: Plan, written: Usage) -> tuple[Usage, Routing]:
    """All tokens of the answer, and the routing with the tokens of each stage."""
    tokens = {"generate": written.prompt_tokens + written.completion_tokens}
    usage, draft = written, plan.draft
    if draft is not None:
        drafted = {"draft": draft.prompt_tokens + draft.completion_tokens}
        tokens = drafted if plan.is_draft else drafted | tokens
        if not plan.is_draft:
            usage = Usage(
                prompt_tokens=written.prompt_tokens + draft.prompt_tokens,
                completion_tokens=written.completion_tokens + draft.completion_tokens,
            )
    weight, shown = plan.retrieval_weight, len(plan.passages)
    return usage, plan.routing.model_copy(update={"tokens": tokens, "k": shown, "w": weight})
