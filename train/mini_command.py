"""`python -m train mini`: retrain the shipped model."""

from pathlib import Path
from typing import Annotated

import typer

from rayraft.commands import clear_errors


def register(app: typer.Typer) -> None:
    """Adds the command `mini`."""
    app.command(name="mini", epilog=_EXAMPLES)(clear_errors(mini))


_EXAMPLES = (
    "Examples:  python -m train mini --data ../data --out runs/mini  |  "
    "python -m train mini --data ../data --out /tmp/try --config my_mini.yaml"
)


def mini(
    data: Annotated[Path, typer.Option(help="Folder of question-answering sets.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; `model` in it is the result.")],
    config: Annotated[Path, typer.Option(help="Mixture and schedule.")] = Path("train/mini.yaml"),
) -> None:
    """Retrains the shipped model from the MiniLM wheel (about an hour on 2 CPU cores)."""
    from rayraft.config import load
    from train.mini_config import MiniTraining

    settings = load(MiniTraining, config)

    from data_pipelines.ray_session import ray_session
    from train.mini import train_mini

    with ray_session():
        model = train_mini(settings, data, out)
    typer.echo(f"trained: {model}")
