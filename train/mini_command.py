"""`python -m train mini`: retrain the shipped models."""

from pathlib import Path
from typing import Annotated

import typer

from rayraft.commands import clear_errors

SHIPPED = Path(__file__).with_name("mini.yaml")


def register(app: typer.Typer) -> None:
    """Adds the command `mini`."""
    app.command(name="mini", epilog=_EXAMPLES)(clear_errors(mini))
    app.command(name="mini-manifest", epilog=_MANIFEST_EXAMPLES)(clear_errors(mini_manifest))


_EXAMPLES = (
    "Examples:  python -m train mini --data ../data --out runs/mini  |  "
    "python -m train mini --data ../data --out runs/try stages.0.mixture.rows=4800"
)

_MANIFEST_EXAMPLES = (
    "Example:  python -m train mini-manifest --data ../data --out runs/mini "
    "--model rayraft/mini/weights"
)


def mini(
    data: Annotated[Path, typer.Option(help="Folder of question-answering sets.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the run; `model` and `reranker` in it are the result.")
    ],
    config: Annotated[Path, typer.Option(help="Mixture and schedule.")] = SHIPPED,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="stages.0.section.key=value and so on.")
    ] = None,
) -> None:
    """Retrains the shipped models from the MiniLM wheel (hours on 2 CPU cores)."""
    from rayraft.config import load
    from train.mini_config import MiniTraining

    settings = load(MiniTraining, config, overrides or ())

    from data_pipelines.ray_session import ray_session
    from train.mini import train_mini

    with ray_session():
        model = train_mini(settings, data, out)
    typer.echo(f"trained: {model}")


def mini_manifest(
    data: Annotated[Path, typer.Option(help="Folder of question-answering sets.")],
    out: Annotated[Path, typer.Option(help="Folder of a finished run of `mini`.")],
    model: Annotated[
        Path | None, typer.Option(help="Folder that gets it; `model` in the run without.")
    ] = None,
) -> None:
    """Writes manifest.json for the model of a finished run, or for a copy of its files."""
    from train.mini_manifest import write_manifest

    folder = model or out / "model"
    manifest = write_manifest(data, out, folder)
    typer.echo(f"{folder / 'manifest.json'}: {len(manifest.files)} files")
