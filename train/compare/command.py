"""`python -m train compare`, `rayraft compare`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayraft.commands import clear_errors

if TYPE_CHECKING:
    from data_pipelines.progress import Advance
    from train.compare.config import CompareConfig
    from train.compare.plan import Request

EPILOG = (
    "Examples: `python -m train compare --store .rayraft/store --questions questions.jsonl`\n\n"
    "`python -m train compare --store .rayraft/store --questions questions.jsonl --updates "
    "updates/ --needs freshness=daily,latency_p95_ms=500,privacy=strict --limit 80 "
    "raft.max_chunks=120 reading.max_steps=40 memory.max_steps=200`\n\n"
    "`python -m train compare --store .rayraft/store --questions questions.jsonl --arms rag,raft "
    "adapter_reading=support-v3`"
)


Store = Annotated[str, typer.Option(help="Folder or URI of the store; only read.")]
QuestionFile = Annotated[
    Path, typer.Option(help="JSONL of {id, question, answers, gold_ids}; see the README.")
]
NeedsText = Annotated[
    str | None, typer.Option(help="freshness, latency_p95_ms, privacy, budget, volume, quality.")
]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster; RAY_ADDRESS or this machine without.")
]


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="compare", epilog=EPILOG)(clear_errors(compare))


def compare(  # noqa: PLR0913 - each parameter is an option
    store: Store,
    questions: QuestionFile,
    updates: Annotated[
        Path | None,
        typer.Option(help="Folder of documents/, deleted.txt and questions.jsonl (a change)."),
    ] = None,
    learn: Annotated[
        Path | None,
        typer.Option(help="JSONL of people's questions to learn; those asked are left out."),
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Names, see docs/compare.md; with commas. All without.")
    ] = None,
    needs: NeedsText = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many questions, evenly by kind.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file; defaults without.")] = None,
    run: Annotated[
        str | None, typer.Option(help="Name below <store>/comparisons/; time and version without.")
    ] = None,
    address: Address = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
) -> None:
    """Measures every way of answering on your own data and recommends one.

    Closed book and with passages, base model and fine-tuned: adapters are trained where an arm
    needs one, all in a copy of the store. Quality, latency, cost, what a change of the documents
    does, what stays hidden. Interrupted, the same command goes on where it stopped.
    """
    from rayraft.config import load
    from train.compare.config import CompareConfig
    from train.compare.needs import parse_needs
    from train.compare.plan import Request, read_update

    settings = _with_arms(load(CompareConfig, config, overrides or ()), arms)
    wanted = parse_needs(needs)

    from rayraft.questions import read_questions, sample_questions

    asked = read_questions(questions)
    if limit is not None:
        asked = sample_questions(asked, limit, settings.evaluate.seed)
    request = Request(
        store=store,
        questions=asked,
        config=settings,
        learn=read_questions(learn) if learn is not None else [],
        update=read_update(updates) if updates is not None else None,
        needs=wanted,
        run=run,
    )
    if address:
        os.environ["RAY_ADDRESS"] = address
    typer.echo(_run(request))


def _with_arms(settings: "CompareConfig", arms: str | None) -> "CompareConfig":
    """The option wins over the configuration; both are checked."""
    from train.compare.arms import choose_arms, parse_arms

    names = parse_arms(arms) if arms is not None else settings.arms
    choose_arms(names)
    return settings.model_copy(update={"arms": names})


def _run(request: "Request") -> str:
    """Compares; returns what a person reads of it."""
    from data_pipelines.kb import KnowledgeBase
    from data_pipelines.ray_session import ray_session
    from train.compare.markdown import markdown
    from train.compare.run import compare as run_compare
    from train.resources import check_resources

    KnowledgeBase.open(request.store)  # a wrong store is said at once, before Ray starts
    with ray_session():
        check_resources(request.config.reading.workers)
        check_resources(request.config.memory.workers)
        uri, report = run_compare(request, _stage)
    return f"{markdown(report)}\nReport: {uri}/report.html"


@contextmanager
def _stage(title: str) -> "Iterator[Advance]":
    from data_pipelines.progress import progress_bar

    with progress_bar(title) as advance:
        yield advance
