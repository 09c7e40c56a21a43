"""The command `router`: learns which mode answers which question, from an evaluation."""

from pathlib import Path
from typing import Annotated

import typer

from rayraft.commands import clear_errors

EPILOG = (
    "Examples: `rayraft evaluate --store .rayraft/store --questions questions.jsonl "
    "--modes closed_book,rag,rag:k=1,raft,raft:k=1 --run modes`\n\n"
    "`python -m train router --store .rayraft/store --run modes`\n\n"
    "`python -m train router --store .rayraft/store quality=exact_match balanced_loss=0.01`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="router", epilog=EPILOG)(clear_errors(router))


def router(
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    run: Annotated[
        str | None, typer.Option(help="Evaluation in the store's evals/; the newest without.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the router; time and version without.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file; defaults without.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
) -> None:
    """Learns a router for mode `auto` from an evaluation of several modes.

    Prints what it is worth on questions that it was not fitted on, and publishes it: the service,
    `ask` and `evaluate` use the newest one that fits their base model, adapter and prompts.
    """
    from rayraft.config import load
    from train.router_config import RouterTrainConfig

    settings = load(RouterTrainConfig, config, overrides or ())

    from train.router import learn_router
    from train.router_report import router_markdown

    done = learn_router(store, run, settings, name)
    typer.echo(f"{router_markdown(done.report)}\nRouter: {done.ref.uri}")
