"""`ingest`: documents into the knowledge base."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayraft.commands import clear_errors, split_overrides
from rayraft.errors import InputError

if TYPE_CHECKING:
    from data_pipelines.sql_source import Query

EPILOG = (
    "Examples: `python -m data_pipelines ingest documents/ --store .rayraft/store`\n\n"
    "`python -m data_pipelines ingest documents/ --store .rayraft/store --sync --dry-run`\n\n"
    "`python -m data_pipelines ingest faq.jsonl manual.pdf --store .rayraft/store "
    "chunking.chunk_tokens=120 embedding.actors=8`\n\n"
    "`python -m data_pipelines ingest https://example.com/sitemap.xml --store .rayraft/store`\n\n"
    "`python -m data_pipelines ingest --store .rayraft/store --dsn sqlite:///crm.db "
    '--sql "select id, name as title, notes as text, region from customers"`'
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(epilog=EPILOG)(ingest)


@clear_errors
def ingest(  # noqa: PLR0913 - each parameter is an option
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Files, folders, globs, s3:// and gs:// URIs, web pages, sitemaps; then "
            "section.key=value.",
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file; defaults without.")] = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="Remove documents that these paths do not hold.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; say what would be changed.")
    ] = False,
    sql: Annotated[
        str | None, typer.Option(help="Query whose rows have id, text, and what else is wanted.")
    ] = None,
    dsn: Annotated[
        str | None,
        typer.Option(envvar="RAYRAFT_DSN", help="Its database: sqlite:///FILE, postgresql://..."),
    ] = None,
) -> None:
    """Reads documents into the knowledge base; only what is new or changed is read and embedded.

    With --sync the store mirrors the paths: name all its sources. A run that would remove more
    than sync.max_removed_share stops. Documents cut with other settings count as changed.

    What cannot be read goes to quarantine, with the reason.
    """
    from data_pipelines.config import IngestConfig
    from rayraft.config import load

    names, overrides = split_overrides(paths or [])
    settings = load(IngestConfig, config, overrides)
    query = _query(sql, dsn)

    from data_pipelines.ingest_inputs import RunOptions
    from data_pipelines.ingest_job import run_ingest
    from data_pipelines.ingest_report import ingest_summary
    from data_pipelines.progress import progress_bar
    from data_pipelines.ray_later import ray_when_needed

    with ray_when_needed() as start_ray, progress_bar("chunks embedded") as advance:
        options = RunOptions(sync=sync, dry_run=dry_run, query=query, start_ray=start_ray)
        report = run_ingest(names, store, settings, advance, options)
    typer.echo(ingest_summary(report, store))


def _query(sql: str | None, dsn: str | None) -> "Query | None":
    if not sql:
        return None
    if not dsn:
        raise InputError("--sql needs --dsn, such as sqlite:///crm.db (or RAYRAFT_DSN)")
    from data_pipelines.sql_source import Query, check_query

    query = Query(sql, dsn)
    check_query(query)
    return query
