"""`python -m train refresh`, `rayraft refresh`."""

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayraft.commands import clear_errors
from rayraft.errors import RayraftError

if TYPE_CHECKING:
    from rayraft.records import Question
    from train.refresh_config import RefreshConfig

logger = logging.getLogger(__name__)

EPILOG = (
    "Examples: `python -m train refresh --store .rayraft/store --name support`\n\n"
    "`python -m train refresh --store .rayraft/store --name support --config train/refresh.yaml "
    "--questions holdout.jsonl gate.max_loss=0.01`\n\n"
    "`ray job submit -- python -m train refresh --store s3://bucket/store --name support "
    "--address auto --every 1h`\n\n"
    "`python -m train refresh --store .rayraft/store --name support --erase`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="refresh", epilog=EPILOG)(clear_errors(refresh))


def refresh(  # noqa: PLR0913 - each parameter is an option
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    name: Annotated[str, typer.Option(help="Name of the adapter; each refresh is a number of it.")],
    config: Annotated[Path | None, typer.Option(help="YAML file; defaults without.")] = None,
    questions: Annotated[
        Path | None,
        typer.Option(help="JSONL of people's questions that are never trained on: the holdout."),
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Again and again, at this distance: 90s, 30m, 1.5h, 1d.")
    ] = None,
    erase: Annotated[
        bool,
        typer.Option(
            "--erase", help="Forget deleted documents: retrain without them, delete what saw them."
        ),
    ] = False,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster; RAY_ADDRESS or this machine without.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="section.key=value")] = None,
) -> None:
    """Brings the adapter up to the knowledge base and to people's feedback.

    Examples are written for what changed since the champion, old ones are replayed against
    forgetting, training goes on from the champion, and the result takes its place only if it
    answers better and loses nowhere. Interrupted, the same command goes on where it stopped.
    """
    from rayraft.config import load
    from rayraft.questions import read_questions
    from train.refresh_config import RefreshConfig, parse_every

    settings = load(RefreshConfig, config, overrides or ())
    pause = parse_every(every) if every is not None else None
    holdout = read_questions(questions) if questions is not None else []
    if address:
        os.environ["RAY_ADDRESS"] = address
    from data_pipelines.kb import KnowledgeBase
    from data_pipelines.ray_session import ray_session

    KnowledgeBase.open(store)  # a wrong store is said at once, before Ray starts
    with ray_session():
        while True:
            began = time.monotonic()
            try:
                typer.echo(_once(store, settings, name, holdout, erase))
            except RayraftError as exc:
                if pause is None:
                    raise
                logger.error("this refresh failed, the next one tries again: %s", exc)
            if pause is None:
                return
            time.sleep(max(0.0, began + pause - time.monotonic()))


def _once(
    store: str, config: "RefreshConfig", name: str, holdout: "list[Question]", erase: bool
) -> str:
    from data_pipelines.progress import progress_bar
    from train.erasure import erase_deleted
    from train.refresh import refresh as run_refresh
    from train.refresh_report import report_lines
    from train.resources import check_resources

    check_resources(config.train.workers)
    with progress_bar("refresh") as advance:
        if erase:
            return "\n".join(erase_deleted(store, config, name, holdout, advance).lines())
        done = run_refresh(store, config, name, holdout, advance)
    lines = report_lines(done)
    return "\n".join([*lines, "", f"Report: {done.uri}"] if done.uri else lines)
