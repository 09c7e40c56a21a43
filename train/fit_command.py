"""`python -m train fit`, `rayraft train`."""

from typing import TYPE_CHECKING, Annotated

import typer

from rayraft.commands import clear_errors
from train.training_options import Address, ConfigFile, Overrides, RaftRun, Store, in_session

if TYPE_CHECKING:
    from train.adapter import Trained, Watch

EPILOG = (
    "Examples: `python -m train fit --store .rayraft/store`\n\n"
    "`python -m train fit --store .rayraft/store --config train/lora.yaml --name support "
    "method=mixed max_steps=200 lora.r=8`\n\n"
    "`python -m train fit --store s3://bucket/store --config train/lora_zero3_gpu.yaml "
    "--address auto workers.count=8`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="fit", epilog=EPILOG)(clear_errors(fit))


def fit(  # noqa: PLR0913 - each parameter is an option
    store: Store,
    config: ConfigFile = None,
    run: RaftRun = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the adapter; the method's without.")
    ] = None,
    address: Address = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the resolved configuration, parameters and memory, and stop."
        ),
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Fine-tunes a LoRA adapter on RAFT examples and publishes it.

    Ray Train starts the workers, DeepSpeed shards what they hold. Interrupted, the same command
    goes on from the last checkpoint.
    """
    from rayraft.config import load
    from train.config import TrainConfig

    settings = load(TrainConfig, config, overrides or ())
    if dry_run:
        typer.echo(_resolved(settings.model_dump(mode="json")))
        from train.memory import memory_lines

        typer.echo("\n".join(memory_lines(settings)))
        return

    from train.adapter import train_adapter

    def train(watch: "Watch") -> "Trained":
        return train_adapter(store, settings, name or settings.method, run, watch)

    typer.echo(summary(in_session(settings, address, train)))


def summary(trained: "Trained") -> str:
    """What a person wants to know of the adapter."""
    manifest, metrics = trained.manifest, trained.manifest.metrics
    losses = [point["loss"] for point in manifest.curve if "loss" in point]
    lines = [
        f"{trained.ref.artifact_id}: {trained.ref.uri}",
        f"made from       {', '.join(manifest.made_from)}, knowledge base {manifest.kb_version}",
        f"rows            {metrics['rows']:.0f}, validation {metrics['validation_rows']:.0f}",
        f"steps           {metrics['step']:.0f}, {metrics['tokens_per_s']:.0f} tokens/s",
        f"loss            {losses[0]:.4f} at first, {losses[-1]:.4f} at the end",
    ]
    if "validation_loss" in metrics:
        lines.append(f"validation loss {metrics['validation_loss']:.4f}")
    if not trained.is_new:
        lines.append("nothing to do: this training had been published before")
    return "\n".join(lines)


def _resolved(values: object) -> str:
    import yaml

    return str(yaml.safe_dump(values, sort_keys=False)).rstrip()
