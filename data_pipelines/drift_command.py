"""`python -m data_pipelines drift`, `rayraft drift`."""

from typing import Annotated

import typer

from rayraft.commands import clear_errors

EPILOG = "Example: `python -m data_pipelines drift --store .rayraft/store changed_share=0.05`"


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="drift", epilog=EPILOG)(clear_errors(drift))


def drift(
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value")] = None,
) -> None:
    """Says how stale each adapter and the index are, and whether a refresh is worth it."""
    from data_pipelines.drift import DriftConfig, drift_lines, measure_drift
    from rayraft.config import load

    config = load(DriftConfig, None, overrides or ())
    typer.echo("\n".join(drift_lines(measure_drift(store), config)))
