"""`python -m data_pipelines raft`, `rayraft raft`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayraft.commands import clear_errors

if TYPE_CHECKING:
    from data_pipelines.raft import RaftRun
    from data_pipelines.raft_examples import RaftConfig
    from data_pipelines.raft_plan import Scope
    from rayraft.records import RaftExample

EPILOG = (
    "Examples: `python -m data_pipelines raft --store .rayraft/store`\n\n"
    "`python -m data_pipelines raft --store .rayraft/store --config data_pipelines/raft.yaml "
    "max_chunks=200 teacher.min_round_trip_f1=0.8`\n\n"
    "`python -m data_pipelines raft --store .rayraft/store --questions questions.jsonl`\n\n"
    "`python -m data_pipelines raft --store .rayraft/store --estimate teacher.kind=openai "
    "teacher.url=https://host/v1 teacher.base_model=NAME teacher.limits.token_budget=2000000`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="raft", epilog=EPILOG)(clear_errors(raft))


def raft(  # noqa: PLR0913 - each parameter is an option
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    config: Annotated[Path | None, typer.Option(help="YAML file; defaults without.")] = None,
    run: Annotated[
        str | None, typer.Option(help="Name below <store>/raft/; time and version without.")
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(help="JSONL of {id, question, answers, gold_ids}: people's, not a teacher's."),
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(min=1, help="Only for chunks changed after this knowledge base version."),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Tell what the teacher would cost, and stop.")
    ] = False,
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
) -> None:
    """Writes RAFT training examples from the knowledge base's chunks.

    A question, the sentence that answers it and the answer for each chunk, shown among passages
    that do not hold the answer; in a share of the examples the answering passage is missing.
    Interrupted, the same command goes on where it stopped.
    """
    from data_pipelines.raft_examples import RaftConfig
    from rayraft.config import load

    settings = load(RaftConfig, config, overrides or ())

    from data_pipelines.kb import KnowledgeBase
    from data_pipelines.raft_plan import Scope
    from rayraft.questions import read_questions

    scope = Scope(read_questions(questions) if questions is not None else None, since)
    KnowledgeBase.open(store)  # a wrong store is said at once, before Ray starts
    if estimate or settings.teacher.kind != "local":
        from data_pipelines.raft_estimate import estimate_run

        typer.echo(estimate_run(store, settings, scope))
    if not estimate:
        typer.echo(_written(store, settings, run, scope))


def _written(store: str, settings: "RaftConfig", run: str | None, scope: "Scope") -> str:
    from data_pipelines.progress import progress_bar
    from data_pipelines.raft import build_raft_examples
    from data_pipelines.ray_session import ray_session
    from data_pipelines.vllm_teacher import check_vllm

    if settings.teacher.kind == "vllm" and settings.asks_teacher(scope.questions is not None):
        check_vllm()
    with ray_session(), progress_bar("chunks") as advance:
        made = build_raft_examples(store, settings, run, advance, scope)
    return summary(made)


def summary(made: "RaftRun") -> str:
    """What a person wants to know of a finished run."""
    dropped = ", ".join(f"{reason} {count}" for reason, count in sorted(made.dropped.items()))
    lines = [
        f"{made.uri}: knowledge base version {made.kb_version}, teacher {made.teacher}",
        f"{made.chunks} chunks -> {made.train + made.validation} examples "
        f"({made.train} train, {made.validation} validation; {made.with_golden} with the golden "
        f"passage) in {made.seconds:.1f} s",
        f"left out: {dropped or 'nothing'}",
    ]
    if made.prompt_tokens:
        lines.append(
            f"teacher: {made.prompt_tokens:,} prompt tokens, "
            f"{made.completion_tokens:,} completion tokens"
        )
    if made.unanswerable:
        lines.append(f"questions that no document answers, to abstain from: {made.unanswerable}")
    if made.multi_golden:
        lines.append(f"answers that need several documents: {made.multi_golden}")
    if made.refused_distractors:
        lines.append(f"passages that may answer too, refused: {made.refused_distractors}")
    if made.restricted_chunks:
        lines.append(f"not learned, because access to them is restricted: {made.restricted_chunks}")
    for example in made.samples:
        lines += [
            "",
            f"  question    {example.question}",
            f"  passages    {', '.join(_marked(p.chunk_id, example) for p in example.passages)}",
            f"  completion  {example.completion}",
        ]
    return "\n".join(lines)


def _marked(chunk_id: str, example: "RaftExample") -> str:
    return f"[{chunk_id}]" if chunk_id in example.golden_ids else chunk_id
