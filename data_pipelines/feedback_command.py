"""`python -m data_pipelines feedback`, `rayraft feedback`."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from rayraft.commands import clear_errors

EPILOG = (
    "Examples: `python -m data_pipelines feedback said.jsonl --store .rayraft/store`, a line of it "
    'being `{"question": "...", "verdict": "corrected", "answer": "30 days", "document_ids": '
    '["returns.md"]}`\n\n'
    "`python -m data_pipelines feedback --store .rayraft/store` counts what there is. A running "
    "service takes the same object at POST /v1/feedback."
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="feedback", epilog=EPILOG)(clear_errors(feedback))


def feedback(
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="JSONL of feedback; without, it is shown.")
    ] = None,
) -> None:
    """Takes people's word on answers: accepted, corrected or rejected; refresh learns from it."""
    from data_pipelines.feedback import add_feedback, read_feedback
    from rayraft.feedback import parse_feedback

    if file is not None:
        given = parse_feedback(file)
        version = add_feedback(store, given)
        typer.echo(f"{len(given)} taken; feedback version {version}")
        return
    known, version = read_feedback(store)
    verdicts = Counter(one.verdict for one in known)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    typer.echo(f"feedback version {version}: {counts or 'none'}")
