"""`python -m train reranker`, `rayraft train-reranker`."""

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
    from train.reranker import TrainedReranker

EPILOG = (
    "Examples: `python -m train reranker --store .rayraft/store`\n\n"
    "`python -m train reranker --store .rayraft/store --questions questions.jsonl --name support "
    "negatives=7 train.epochs=2`\n\n"
    "then `rayraft serve --store .rayraft/store retriever.retrieval.rerank=20 "
    "retriever.retrieval.reranker=support-v1`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="reranker", epilog=EPILOG)(clear_errors(reranker))


def reranker(  # noqa: PLR0913 - each parameter is an option
    store: Store,
    config: ConfigFile = None,
    run: RaftRun = None,
    questions: QuestionFile = None,
    name: Annotated[str, typer.Option(help="Name of the reranker.")] = "reranker",
    address: Address = None,
    overrides: Overrides = None,
) -> None:
    """Trains the reranker on a store's own questions and publishes it.

    Wrong passages are those that hybrid search returns for a question and that do not answer it.
    """
    from rayraft.config import load
    from rayraft.questions import read_questions
    from train.reranker_config import RerankerConfig

    settings = load(RerankerConfig, config, overrides or ())
    from train.reranker import from_questions, from_raft, train_reranker

    if questions is None:
        asked = from_raft(store, run, settings)
    else:
        given = read_questions(questions)
        asked = from_questions(given, f"questions/{questions.name}", settings)

    def train(watch: "Watch") -> "TrainedReranker":
        return train_reranker(store, settings, name, asked, watch)

    typer.echo(summary(in_session(settings.train, address, train)))


def summary(trained: "TrainedReranker") -> str:
    """What a person wants to know of the reranker."""
    metrics = trained.manifest.metrics
    lines = [
        f"{trained.ref.artifact_id}: {trained.ref.uri}",
        f"made from       {', '.join(trained.manifest.made_from)}",
        f"questions       {metrics['rows']:.0f}",
    ]
    if "ndcg@10_after" in metrics:
        lines.append(
            f"nDCG@10         {metrics['ndcg@10_fused']:.4f} without a reranker, "
            f"{metrics['ndcg@10_before']:.4f} before, {metrics['ndcg@10_after']:.4f} after, "
            f"on {metrics['measured']:.0f} held-out questions"
        )
        if metrics["ndcg@10_after"] <= metrics["ndcg@10_fused"]:
            lines.append("                it is no better than none: leave reranking off")
    lines.append(f"served by       retriever.retrieval.reranker={trained.ref.artifact_id}")
    return "\n".join(lines)
