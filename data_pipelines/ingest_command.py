"""`ingest`: documents into the knowledge base."""

from pathlib import Path
from typing import Annotated

import typer

from rayraft.commands import clear_errors, split_overrides

EPILOG = (
    "Examples: `python -m data_pipelines ingest documents/ --store .rayraft/store`\n\n"
    "`python -m data_pipelines ingest documents/ --store .rayraft/store --sync --dry-run`\n\n"
    "`python -m data_pipelines ingest faq.jsonl manual.pdf --store .rayraft/store "
    "chunking.chunk_tokens=120 embedding.actors=8`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(epilog=EPILOG)(ingest)


@clear_errors
def ingest(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files and folders, then section.key=value."),
    ],
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    config: Annotated[Path | None, typer.Option(help="YAML file; defaults without.")] = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="Remove documents that these paths do not hold.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; say what would be changed.")
    ] = False,
) -> None:
    """Reads documents into the knowledge base; only what is new or changed is read and embedded.

    With --sync the store mirrors the paths: name all its sources. A run that would remove more
    than sync.max_removed_share stops. Documents cut with other settings count as changed.

    What cannot be read goes to quarantine, with the reason.
    """
    from data_pipelines.config import IngestConfig
    from data_pipelines.sources import find_files
    from rayraft.config import load

    names, overrides = split_overrides(paths)
    settings = load(IngestConfig, config, overrides)
    find_files(names)  # a wrong path is said at once, before anything is loaded

    from data_pipelines.ingest_job import RunOptions, run_ingest
    from data_pipelines.ingest_report import ingest_summary
    from data_pipelines.progress import progress_bar
    from data_pipelines.ray_later import ray_when_needed

    with ray_when_needed() as start_ray, progress_bar("chunks embedded") as advance:
        options = RunOptions(sync=sync, dry_run=dry_run, start_ray=start_ray)
        report = run_ingest(names, store, settings, advance, options)
    typer.echo(ingest_summary(report, store))
