"""`python -m train advise`, `rayraft advise`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayraft.commands import clear_errors
from train.compare.command import Address, NeedsText, QuestionFile, Store

if TYPE_CHECKING:
    from train.compare.advise import Estimate
    from train.compare.plan import Request

EPILOG = (
    "Examples: `python -m train advise --store .rayraft/store --questions questions.jsonl`\n\n"
    "`python -m train advise --store .rayraft/store --questions questions.jsonl --sample 80 "
    "--needs freshness=daily,latency_p95_ms=300 reading.max_steps=100 evaluate.k=6`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="advise", epilog=EPILOG)(clear_errors(advise))


def advise(  # noqa: PLR0913 - each parameter is an option
    store: Store,
    questions: QuestionFile,
    sample: Annotated[int, typer.Option(min=1, help="So many questions, evenly by kind.")] = 40,
    needs: NeedsText = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of `compare`.")] = None,
    address: Address = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
) -> None:
    """Says, before any training, which way of answering to try first.

    The base model answers a sample by heart, with retrieved and with golden passages: the gaps
    between them are what training and better retrieval can bring. `compare` reuses the answers.
    """
    from rayraft.config import load
    from rayraft.questions import read_questions, sample_questions
    from train.compare.config import CompareConfig
    from train.compare.needs import parse_needs
    from train.compare.plan import Request

    settings = load(CompareConfig, config, overrides or ())
    wanted = parse_needs(needs)
    asked = sample_questions(read_questions(questions), sample, settings.evaluate.seed)
    request = Request(store=store, questions=asked, config=settings, needs=wanted)
    if address:
        os.environ["RAY_ADDRESS"] = address
    typer.echo("\n".join(_estimate(request).lines()))


def _estimate(request: "Request") -> "Estimate":
    from data_pipelines.kb import KnowledgeBase
    from data_pipelines.progress import progress_bar
    from data_pipelines.ray_session import ray_session
    from train.compare.run import advise as run_advise

    KnowledgeBase.open(request.store)  # a wrong store is said at once, before Ray starts
    with ray_session(), progress_bar("answers") as advance:
        return run_advise(request, advance)
