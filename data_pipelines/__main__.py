"""`python -m data_pipelines ingest|search|raft|...`; Ray and torch are imported inside them."""

import json
from typing import Annotated, Any

import typer

from data_pipelines import (
    adapters_command,
    drift_command,
    export_command,
    feedback_command,
    ingest_command,
    kb_command,
    raft_command,
)
from rayraft.commands import clear_errors, new_app
from rayraft.errors import InputError

app = new_app("Documents to knowledge base, search, and RAFT examples.")

SEARCH_EPILOG = (
    'Examples: `python -m data_pipelines search "return period" --store .rayraft/store`\n\n'
    '`python -m data_pipelines search "return period" --store .rayraft/store -k 3 '
    """--where '{"region": "VN-HN"}' --group staff --explain candidates=100 rerank=20`"""
    '\n\n`python -m data_pipelines search "return period" --store .rayraft/store '
    "fusion=weighted diversity=0.3 neighbours=1`"
)

Store = Annotated[str, typer.Option(help="Folder or URI of the store.")]


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


ingest_command.register(app)
raft_command.register(app)
export_command.register(app)
feedback_command.register(app)
drift_command.register(app)
adapters_command.register(app)
kb_command.register(app)


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


if __name__ == "__main__":
    app(prog_name="python -m data_pipelines")
