"""`python -m train evaluate`, `rayraft evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from rayraft.commands import clear_errors

EPILOG = (
    "Examples: `python -m train evaluate --store .rayraft/store --questions questions.jsonl "
    "--modes closed_book,rag,raft,auto`\n\n"
    "`python -m train evaluate --store .rayraft/store --questions questions.jsonl --modes raft "
    "--adapter support@3 --limit 100`\n\n"
    "`python -m train evaluate --store .rayraft/store --questions questions.jsonl --modes golden "
    "--distractors 2`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="evaluate", epilog=EPILOG)(clear_errors(evaluate))


def evaluate(  # noqa: PLR0913 - each parameter is an option
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    questions: Annotated[
        Path, typer.Option(help="JSONL of {id, question, answers, gold_ids}; see the README.")
    ],
    modes: Annotated[
        str, typer.Option(help="Of closed_book, rag, raft, auto and golden, with commas.")
    ] = "closed_book,rag,raft,auto",
    adapter: Annotated[
        str | None, typer.Option(help="NAME or NAME@N for raft and auto; the newest without.")
    ] = None,
    adapter_closed_book: Annotated[
        str | None, typer.Option(help="NAME or NAME@N for closed_book.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many questions.")] = None,
    run: Annotated[
        str | None, typer.Option(help="Name below <store>/evals/; time and version without.")
    ] = None,
    k: Annotated[int, typer.Option(help="Passages retrieved for a question.")] = 4,
    golden: Annotated[
        bool, typer.Option("--golden", help="Add mode golden: the golden documents' passages.")
    ] = False,
    distractors: Annotated[
        int, typer.Option(help="Mode golden: hard distractors among the passages.")
    ] = 0,
    base_model: Annotated[
        str, typer.Option(help="mini, a folder, or a model id of the hub.")
    ] = "mini",
    actors: Annotated[
        int | None, typer.Option(min=1, help="Processes side by side; one a CPU without.")
    ] = None,
) -> None:
    """Answers questions in several modes, scores them and writes a report.

    Each question is answered alone, with the groups that its line names. Writes rows.parquet,
    report.json and report.md; `raft` needs a published adapter.
    """
    from rayraft.config import validate
    from rayraft.questions import read_questions
    from train.evaluate_config import GOLDEN, EvaluateConfig, parse_modes

    asked = parse_modes(f"{modes},{GOLDEN}" if golden else modes)
    config = validate(
        EvaluateConfig,
        {
            "modes": asked,
            "base_model": base_model,
            "adapter": adapter,
            "adapter_closed_book": adapter_closed_book,
            "k": k,
            "golden_distractors": distractors,
            "actors": actors,
        },
        source="evaluate",
    )
    read = read_questions(questions, limit)

    from data_pipelines.kb import KnowledgeBase
    from data_pipelines.progress import progress_bar
    from data_pipelines.ray_session import ray_session
    from train import evaluate as evaluation
    from train.evaluate_adapters import choose_adapters
    from train.report import markdown

    KnowledgeBase.open(store)  # what is wrong is said at once, before Ray starts
    choose_adapters(store, config)
    with ray_session(), progress_bar("answers") as advance:
        done = evaluation.evaluate(store, read, config, run, advance)
    typer.echo(markdown(done.report))
    typer.echo(f"Report: {done.uri}/report.json")
