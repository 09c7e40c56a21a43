"""`python -m train embedder`, `rayraft train-embedder`."""

from typing import TYPE_CHECKING, Annotated

import typer

from rayraft.commands import clear_errors
from train.training_options import (
    Address,
    ConfigFile,
    Overrides,
    QuestionFile,
    RaftRun,
    Store,
    in_session,
)

if TYPE_CHECKING:
    from train.adapter import Watch
    from train.embedder import TrainedEmbedder

EPILOG = (
    "Examples: `python -m train embedder --store .rayraft/store`\n\n"
    "`python -m train embedder --store .rayraft/store --questions questions.jsonl --name support "
    "group=32 train.learning_rate=0.0002`\n\n"
    "then `rayraft kb reembed --embedder support-v1 --store .rayraft/store`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="embedder", epilog=EPILOG)(clear_errors(embedder))


def embedder(  # noqa: PLR0913 - each parameter is an option
    store: Store,
    config: ConfigFile = None,
    run: RaftRun = None,
    questions: QuestionFile = None,
    name: Annotated[str, typer.Option(help="Name of the embedder.")] = "embedder",
    address: Address = None,
    overrides: Overrides = None,
) -> None:
    """Trains the embedder on a store's own questions and publishes it.

    A question learns to find the passage that answers it among its own distractors and the
    passages of other questions. The store keeps its embedder until `kb reembed` is told of this
    one.
    """
    from rayraft.config import load
    from rayraft.questions import read_questions
    from train.embedder_config import EmbedderConfig

    settings = load(EmbedderConfig, config, overrides or ())
    from train.embedder import from_questions, from_raft, train_embedder

    if questions is None:
        lessons = from_raft(store, run, settings)
    else:
        given = read_questions(questions)
        lessons = from_questions(store, given, f"questions/{questions.name}", settings)

    def train(watch: "Watch") -> "TrainedEmbedder":
        return train_embedder(store, settings, name, lessons, watch)

    typer.echo(summary(in_session(settings.train, address, train)))


def summary(trained: "TrainedEmbedder") -> str:
    """What a person wants to know of the embedder."""
    metrics, ident = trained.manifest.metrics, trained.ref.artifact_id
    lines = [
        f"{ident}: {trained.ref.uri}",
        f"made from       {', '.join(trained.manifest.made_from)}",
        f"questions       {metrics['rows']:.0f}",
    ]
    measures = [key.removesuffix("_change") for key in metrics if key.endswith("_change")]
    lines += [_measure(name, metrics) for name in measures]
    if not measures:
        return "\n".join([*lines, "not measured: no question was held out"])
    lines.append(
        f"measured on     {metrics['measured']:.0f} held-out questions among "
        f"{metrics['measured_chunks']:.0f} chunks, dense search alone"
    )
    return "\n".join([*lines, _verdict(ident, [metrics[f"{name}_low"] for name in measures])])


def _measure(name: str, metrics: dict[str, float]) -> str:
    before, after, change, low, high = (
        metrics[f"{name}_{what}"] for what in ("before", "after", "change", "low", "high")
    )
    return (
        f"{name:<15} {before:.4f} before, {after:.4f} after: {change:+.4f} "
        f"({low:+.4f} to {high:+.4f})"
    )


def _verdict(ident: str, lows: list[float]) -> str:
    if min(lows) > 0:
        return f"taken up by     rayraft kb reembed --embedder {ident}"
    return "not better      by the intervals, which do not lie above 0: keep the store's embedder"
