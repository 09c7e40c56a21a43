"""`python -m data_pipelines ingest|search|raft|...`; Ray and torch are imported inside them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_pipelines import (
    adapters_command,
    drift_command,
    export_command,
    feedback_command,
    raft_command,
)
from rayraft.commands import clear_errors, new_app, split_overrides
from rayraft.errors import InputError

if TYPE_CHECKING:
    from data_pipelines.ingest_job import IngestReport

app = new_app("Documents to knowledge base, search, and RAFT examples.")

INGEST_EPILOG = (
    "Examples: `python -m data_pipelines ingest documents/ --store .rayraft/store`\n\n"
    "`python -m data_pipelines ingest faq.jsonl manual.pdf --store .rayraft/store "
    "chunking.chunk_tokens=120 embedding.actors=8`"
)
SEARCH_EPILOG = (
    'Examples: `python -m data_pipelines search "return period" --store .rayraft/store`\n\n'
    '`python -m data_pipelines search "return period" --store .rayraft/store -k 3 '
    """--where '{"region": "VN-HN"}' --group staff --explain candidates=100 rerank=20`"""
    '\n\n`python -m data_pipelines search "return period" --store .rayraft/store '
    "fusion=weighted diversity=0.3 neighbours=1`"
)

REASONS = 5
"""Quarantined documents whose reasons are shown; all are in the store."""

Store = Annotated[str, typer.Option(help="Folder or URI of the store.")]


@app.command(epilog=INGEST_EPILOG)
@clear_errors
def ingest(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files and folders, then section.key=value."),
    ],
    store: Store,
    config: Annotated[Path | None, typer.Option(help="YAML file; defaults without.")] = None,
) -> None:
    """Reads documents into the knowledge base; only what is new or changed is embedded.

    Documents that were cut with another chunking.chunk_tokens count as changed.

    Kinds: .md .txt .html .pdf .docx .csv .jsonl .parquet. What cannot be read goes to quarantine.
    """
    from data_pipelines.config import IngestConfig
    from data_pipelines.sources import find_files
    from rayraft.config import load

    names, overrides = split_overrides(paths)
    settings = load(IngestConfig, config, overrides)
    find_files(names)  # a wrong path is said at once, before Ray starts

    from data_pipelines.progress import progress_bar
    from data_pipelines.ray_session import ray_session

    with ray_session(), progress_bar("documents embedded") as advance:
        from data_pipelines.ingest_job import run_ingest  # Lance warns if Ray is started after it

        report = run_ingest(names, store, settings, advance)
    typer.echo(ingest_summary(report, store))


@app.command(epilog=SEARCH_EPILOG)
@clear_errors
def search(
    query: Annotated[str, typer.Argument(help="A question or words.")],
    store: Store,
    k: Annotated[int, typer.Option("-k", help="Passages shown.", min=1)] = 5,
    where: Annotated[
        str | None, typer.Option(help="JSON conditions on metadata; all must hold.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Group of the person who asks; may be repeated.")
    ] = None,
    explain: Annotated[bool, typer.Option(help="Say why each was found.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="section.key=value, such as candidates=100.")
    ] = None,
) -> None:
    """Shows the passages that a question finds."""
    from data_pipelines.config import RetrievalConfig
    from rayraft.config import load

    conditions = parse_where(where)
    settings = load(RetrievalConfig, None, overrides or ())

    from data_pipelines.kb import KnowledgeBase
    from data_pipelines.open_retriever import open_retriever
    from data_pipelines.search_lines import passage_lines

    kb = KnowledgeBase.open(store)
    retriever = open_retriever(kb, settings)
    [passages] = retriever.search([query], k, where=conditions, groups=group or ())
    typer.echo(f"knowledge base version {retriever.version}, {len(passages)} passages")
    for number, passage in enumerate(passages, start=1):
        typer.echo(passage_lines(number, passage, query, settings if explain else None))


raft_command.register(app)
export_command.register(app)
feedback_command.register(app)
drift_command.register(app)
adapters_command.register(app)


def parse_where(text: str | None) -> dict[str, Any] | None:
    """The conditions in a `--where` argument.

    Raises:
        InputError: It is not a JSON object.
    """
    if text is None:
        return None
    try:
        where = json.loads(text)
    except ValueError as exc:
        raise InputError(f"--where {text!r}: not JSON: {exc}") from exc
    if not isinstance(where, dict):
        raise InputError(f"--where {text!r}: expected a JSON object")
    return where


def ingest_summary(report: "IngestReport", store: str) -> str:
    """What a person wants to know of a finished run."""
    lines = [
        f"documents   {report.added} added, {report.changed} changed, "
        f"{report.unchanged} unchanged, {report.quarantined} quarantined, {report.skipped} skipped",
        f"chunks      {report.chunks}",
        f"seconds     {report.seconds:.1f} ({report.tokens_per_s:.0f} tokens/s)",
        f"kb version  {report.kb_version}",
    ]
    if report.rejected:
        shown = [f"{item.uri}: {item.reason}" for item in report.rejected[:REASONS]]
        left = report.quarantined - len(shown)
        place = f"{store.rstrip('/')}/quarantine/"
        lines += [f"not read    {line}" for line in shown]
        lines.append(f"            and {left} more; {place}" if left else f"            {place}")
    return "\n".join(lines)


if __name__ == "__main__":
    app(prog_name="python -m data_pipelines")
