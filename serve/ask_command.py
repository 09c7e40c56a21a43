"""The command `ask`: one question, to a store in this process or to a running service."""

import asyncio
import re
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rayraft.commands import clear_errors
from rayraft.config import load
from rayraft.errors import InputError
from rayraft.protocols import AskRequest, Mu
from rayraft.records import MODES, Answer, Routing
from serve.config import AppConfig

EPILOG = (
    'Examples: `rayraft ask "How long may I stay?" --store .rayraft/store --explain`\n\n'
    '`rayraft ask "How long may I stay?" --url http://127.0.0.1:8000 --mode rag`\n\n'
    '`rayraft ask "How long may I stay?" --store .rayraft/store retriever.retrieval.candidates=100 '
    "api.max_new_tokens=48`"
)
DEFAULT_URL = "http://127.0.0.1:8000"
"""Where `rayraft serve` listens unless it is told otherwise."""
_URL_OPTION = f"Answer by the service at this URL; {DEFAULT_URL} without --store."
_MODEL_OPTION = "Base model for --store: mini, a folder, or a model of the hub; mini without."
_MU_OPTION = "Mode auto: quality, balanced, cheap, or what the dearest way is worth in quality."
_OVERRIDES = "Settings for --store as section.key=value, named as those of `rayraft serve`."


def register(app: typer.Typer) -> None:
    """Adds `ask` to `app`."""
    app.command(epilog=EPILOG)(clear_errors(ask))


def ask(  # noqa: PLR0913 - each parameter is one option
    question: Annotated[str, typer.Argument(help="The question.")],
    store: Annotated[str | None, typer.Option(help="Answer from this store, in process.")] = None,
    url: Annotated[str | None, typer.Option(help=_URL_OPTION)] = None,
    mode: Annotated[str, typer.Option(help=", ".join(MODES))] = "auto",
    adapter: Annotated[
        str | None, typer.Option(help="Adapter NAME-vN; of blend, for the side without passages.")
    ] = None,
    weight: Annotated[
        float | None, typer.Option(min=0, max=1, help="Mode blend: share of retrieval.")
    ] = None,
    k: Annotated[int, typer.Option(min=1, max=50, help="Passages to retrieve.")] = 4,
    mu: Annotated[str | None, typer.Option(help=_MU_OPTION)] = None,
    group: Annotated[list[str] | None, typer.Option(help="Group of the asker; repeatable.")] = None,
    require_grounding: Annotated[
        bool,
        typer.Option("--require-grounding", help="Abstain where no quote supports the answer."),
    ] = False,
    explain: Annotated[bool, typer.Option(help="Show mode, citations, passages, times.")] = False,
    base_model: Annotated[str | None, typer.Option(help=_MODEL_OPTION)] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help=_OVERRIDES)] = None,
) -> None:
    """Answers one question."""
    if store is not None and url is not None:
        raise InputError(
            "give either --store (answer in this process) or --url (a running service), not both"
        )
    if not question.strip():
        raise InputError("question: it is empty")
    settings = _settings(store, base_model, overrides or [])
    request = AskRequest(
        question=question,
        mode=mode,
        adapter=adapter,
        k=k,
        groups=tuple(group or ()),
        max_new_tokens=settings.api.max_new_tokens,
        retrieval_weight=weight,
        require_grounding=require_grounding,
        mu=_mu(mu),
    )
    if store is None:
        given = _ask_service(url, request, explain)
    else:
        from serve.local import answer_locally

        given = asyncio.run(answer_locally(store, settings, request))
    typer.echo(given.text)
    if explain:
        show_explanation(given, Console(highlight=False))


def _settings(store: str | None, base_model: str | None, overrides: list[str]) -> AppConfig:
    """What `rayraft serve` would make of the overrides."""
    if store is None and (overrides or base_model is not None):
        given = overrides[0] if overrides else f"--base-model {base_model}"
        raise InputError(f"{given!r}: a running service has its own settings; it needs --store")
    settings = load(AppConfig, overrides=overrides)
    if base_model is None:
        return settings
    generator = settings.generator.model_copy(update={"base_model": base_model})
    return settings.model_copy(update={"generator": generator})


def _mu(text: str | None) -> Mu | None:
    try:
        return None if text is None else TypeAdapter[Mu](Mu).validate_python(text)
    except ValidationError:
        raise InputError(
            f"--mu {text!r}: expected quality, balanced, cheap or a number of at least 0"
        ) from None


def _ask_service(url: str | None, request: AskRequest, with_passages: bool) -> Answer:
    if url is not None and re.match(r"https?://", url) is None:
        raise InputError(f"--url {url!r}: expected http:// or https://")
    from rayraft.client import ServiceUnreachable, ask_service

    try:
        return ask_service(url or DEFAULT_URL, request, with_passages)
    except ServiceUnreachable as exc:
        if url is not None:
            raise
        raise ServiceUnreachable(
            f"no service listens at {DEFAULT_URL}: start one with `rayraft serve`, or give --url "
            "(another service) or --store (answer in this process)"
        ) from exc


def show_explanation(answer: Answer, console: Console) -> None:
    """How the answer came about, as tables."""
    facts = Table(show_header=False, box=None)
    facts.add_row("mode", answer.mode)
    facts.add_row("route", escape(answer.route or "the caller's choice"))
    facts.add_row("supported", "by its quotes" if answer.supported else "no")
    facts.add_row("adapter", answer.adapter or "none (base model)")
    if answer.retrieval_weight is not None:
        facts.add_row("retrieval weight", f"{answer.retrieval_weight:g}")
    facts.add_row("kb version", str(answer.kb_version) if answer.kb_version else "not searched")
    _add_routing(facts, answer.routing)
    times = ", ".join(f"{stage} {ms:.0f}" for stage, ms in answer.timings_ms.items())
    facts.add_row("ms", times)
    tokens = ", ".join(f"{stage} {count}" for stage, count in answer.routing.tokens.items())
    facts.add_row("tokens", tokens or "not counted")
    for citation in answer.citations:
        facts.add_row("citation", escape(f"{citation.document_id}: “{citation.quote}”"))
    console.print(facts)
    if not answer.passages:
        return
    shown = Table("passage", "score", "cosine", "BM25", "text", box=None)
    for passage in answer.passages:
        scores = (passage.score, passage.dense_score, passage.sparse_score)
        numbers = ["" if score is None else f"{score:.3f}" for score in scores]
        text = " ".join(passage.text.split())
        shown.add_row(escape(passage.chunk_id), *numbers, escape(text[:80]))
    console.print(shown)


def _add_routing(facts: Table, routing: Routing) -> None:
    """What the router saw and expected, where a learned one chose."""
    facts.add_row("chosen by", routing.chosen_by + (f" {routing.router}" if routing.router else ""))
    shown = f"k={routing.k}" + ("" if routing.w is None else f", w={routing.w:g}")
    facts.add_row("shown", shown)
    if not routing.expected:
        return
    ways = [
        f"{label} {quality:.2f} (cost {routing.costs[label]:.2f})"
        for label, quality in routing.expected.items()
    ]
    facts.add_row("expected quality", escape(", ".join(ways)))
    facts.add_row("mu", f"{routing.mu:g}")
    for name, gain in routing.why:
        value = routing.features.get(name)
        seen = "not known" if value is None else f"{value:.3f}"
        clipped = ", clipped" if name in routing.clipped else ""
        facts.add_row("why", f"{name} ({seen}{clipped}) {gain:+.2f} log-odds")
