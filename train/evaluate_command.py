"""`python -m train evaluate`, `rayraft evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rayraft.commands import clear_errors

if TYPE_CHECKING:
    from rayraft.records import Question
    from train.evaluate_config import EvaluateConfig

EPILOG = (
    "Examples: `python -m train evaluate --store .rayraft/store --questions questions.jsonl "
    "--modes closed_book,rag,raft,auto`\n\n"
    "`python -m train evaluate --store .rayraft/store --questions questions.jsonl --modes raft "
    "--adapter support-v3 --limit 100 max_new_tokens=48`\n\n"
    "`python -m train evaluate --store .rayraft/store --questions questions.jsonl --modes golden "
    "--distractors 2`\n\n"
    "`python -m train evaluate --store .rayraft/store --questions questions.jsonl --modes "
    "blend,rag_token mix.retrieval_weight=0.7`\n\n"
    "`python -m train evaluate --store .rayraft/store --questions questions.jsonl --modes search "
    "retrieval.rerank=50`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="evaluate", epilog=EPILOG)(clear_errors(evaluate))


def evaluate(  # noqa: PLR0913 - each parameter is an option
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    questions: Annotated[
        Path, typer.Option(help="JSONL of {id, question, answers, gold_ids}; see the README.")
    ],
    config: Annotated[Path | None, typer.Option(help="YAML file; defaults without.")] = None,
    modes: Annotated[
        str | None,
        typer.Option(
            help="Of closed_book, rag, raft, rag_sequence, rag_token, blend, auto, golden, "
            "search; with commas."
        ),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="NAME or NAME-vN for raft and auto; the newest without.")
    ] = None,
    adapter_closed_book: Annotated[
        str | None, typer.Option(help="NAME or NAME-vN for closed_book and blend.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many questions.")] = None,
    run: Annotated[
        str | None, typer.Option(help="Name below <store>/evals/; time and version without.")
    ] = None,
    k: Annotated[int | None, typer.Option(help="Passages retrieved for a question.")] = None,
    golden: Annotated[
        bool, typer.Option("--golden", help="Add mode golden: the golden documents' passages.")
    ] = False,
    distractors: Annotated[
        int | None, typer.Option(help="Mode golden: hard distractors among the passages.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="mini, a folder, or a model id of the hub.")
    ] = None,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Processes side by side; one a CPU without.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
) -> None:
    """Answers questions in several modes, scores them and writes a report.

    Each question is answered alone, with the groups that its line names. Writes rows.parquet,
    report.json and report.md; `raft` needs a published adapter. An option wins over an override.
    """
    given = {
        "modes": modes,
        "adapter": adapter,
        "adapter_closed_book": adapter_closed_book,
        "k": k,
        "golden_distractors": distractors,
        "base_model": base_model,
        "actors": actors,
    }
    settings = _settings(config, overrides or (), given, golden)

    from rayraft.questions import read_questions

    read = read_questions(questions, limit)
    typer.echo(_run(store, read, settings, run))


def _settings(
    path: Path | None, overrides: Sequence[str], options: dict[str, Any], golden: bool
) -> "EvaluateConfig":
    """File, then overrides, then the options that were given."""
    from rayraft.config import apply_overrides, read_yaml, validate
    from train.evaluate_config import GOLDEN, EvaluateConfig, parse_modes

    values = read_yaml(path) if path is not None else {}
    apply_overrides(values, overrides)
    values |= {key: value for key, value in options.items() if value is not None}
    if options["modes"] is not None:
        values["modes"] = parse_modes(options["modes"])
    source = str(path) if path is not None else "evaluate"
    settings = validate(EvaluateConfig, values, source)
    if golden and GOLDEN not in settings.modes:
        values["modes"] = (*settings.modes, GOLDEN)
        settings = validate(EvaluateConfig, values, source)
    return settings


def _run(
    store: str, questions: Sequence["Question"], settings: "EvaluateConfig", run: str | None
) -> str:
    """Evaluates; returns what a person reads of it."""
    from data_pipelines.progress import progress_bar
    from data_pipelines.ray_session import ray_session
    from train.evaluate import plan_evaluation, run_evaluation
    from train.report import markdown

    plan = plan_evaluation(store, questions, settings, run)  # refuses before Ray starts
    with ray_session(), progress_bar("answers") as advance:
        done = run_evaluation(plan, advance)
    return f"{markdown(done.report)}\nReport: {done.uri}/report.json"
