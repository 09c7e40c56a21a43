"""`python -m train tune`, `rayraft tune`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from rayraft.commands import clear_errors

EPILOG = (
    "Examples: `python -m train tune --store .rayraft/store`\n\n"
    "`python -m train tune --store .rayraft/store --config train/tune.yaml --output best.yaml "
    "trials=8 budget_s=3600 search.lora_r=[8,16]`\n\n"
    "then `rayraft train --store .rayraft/store --config best.yaml`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="tune", epilog=EPILOG)(clear_errors(tune))


def tune(  # noqa: PLR0913 - each parameter is an option
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    config: Annotated[Path | None, typer.Option(help="YAML file; defaults without.")] = None,
    run: Annotated[str | None, typer.Option(help="RAFT run; the newest without.")] = None,
    output: Annotated[Path, typer.Option(help="Gets the best training's configuration.")] = Path(
        "best.yaml"
    ),
    address: Annotated[
        str | None, typer.Option(help="Ray cluster; RAY_ADDRESS or this machine without.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
) -> None:
    """Searches for the training settings with the lowest validation loss.

    Trials differ in lora.r and learning rate, and if asked in RAFT's share of golden passages and
    number of distractors; the worse ones are stopped early. Interrupted, the same command goes on.
    """
    from rayraft.config import load
    from train.tune_config import TuneConfig

    settings = load(TuneConfig, config, overrides or ())
    from data_pipelines.progress import progress_bar
    from data_pipelines.ray_session import ray_session
    from train.resources import check_resources
    from train.tune import tune as search
    from train.tune_report import as_yaml, table

    if address:
        os.environ["RAY_ADDRESS"] = address
    with ray_session(dashboard=True):
        check_resources(settings.train.workers)
        with progress_bar("trials") as advance:
            tuned = search(store, settings, run, advance)
    comment = f"The best of {len(tuned.trials)} trials on RAFT run {tuned.run}."
    output.write_text(as_yaml(tuned.best, comment), encoding="utf-8")
    typer.echo(table(tuned.trials, settings.steps))
    typer.echo(f"best: {output}; rayraft train --store {store} --run {tuned.run} --config {output}")
