"""`python -m data_pipelines kb ...`, `rayraft kb ...`: the knowledge base's history."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from rayraft.commands import clear_errors, new_app

if TYPE_CHECKING:
    from data_pipelines.forget import Forgotten
    from data_pipelines.kb_versions import Compacted

Store = Annotated[str, typer.Option(help="Folder or URI of the store.")]
VersionName = Annotated[str, typer.Argument(metavar="VERSION", help="A number or a tag.")]

app = new_app(
    "The knowledge base's versions: log, diff, rollback, tag, untag, compact, reembed, forget. The "
    "clock never goes back: a rollback is a new version.\n\nExample: `rayraft kb log --store S`"
)

_SHOWN = 20
"""Documents of a kind that a diff lists."""


def register(parent: typer.Typer) -> None:
    """Adds the group to an application."""
    parent.add_typer(app, name="kb")


@app.command(epilog="Example: `rayraft kb log --store S --limit 50`")
@clear_errors
def log(
    store: Store,
    limit: Annotated[int, typer.Option(min=1, help="Versions shown.")] = 20,
) -> None:
    """The newest versions, newest first: when, what, how many documents and chunks, tags."""
    from data_pipelines import kb_versions

    for item in kb_versions.log(store, limit):
        tags = f"  [{', '.join(item.tags)}]" if item.tags else ""
        typer.echo(
            f"{item.version:>6}  {item.time:%Y-%m-%d %H:%M:%S}  {item.what:<10}"
            f"{item.documents:>8} documents {item.chunks:>9} chunks{tags}"
        )


@app.command(epilog="Example: `rayraft kb diff 12 15 --store S`")
@clear_errors
def diff(older: VersionName, newer: VersionName, store: Store) -> None:
    """Documents added (+), changed (~) and removed (-) from one version to another."""
    from data_pipelines import kb_versions

    found = kb_versions.diff(
        store, kb_versions.version_of(store, older), kb_versions.version_of(store, newer)
    )
    for sign, ids in (("+", found.added), ("~", found.changed), ("-", found.removed)):
        for document_id in ids[:_SHOWN]:
            typer.echo(f"{sign} {document_id}")
        if len(ids) > _SHOWN:
            typer.echo(f"{sign} and {len(ids) - _SHOWN} more")
    typer.echo(
        f"{len(found.added)} added, {len(found.changed)} changed, {len(found.removed)} removed"
    )


@app.command(epilog="Example: `rayraft kb rollback 12 --store S`")
@clear_errors
def rollback(version: VersionName, store: Store) -> None:
    """Makes a new version with the documents of an old one; running services follow it."""
    from data_pipelines import kb_versions

    old = kb_versions.version_of(store, version)
    new = kb_versions.rollback(store, old)
    typer.echo(f"version {new} holds the documents of version {old}")


@app.command(epilog="Example: `rayraft kb tag before-import --store S`")
@clear_errors
def tag(
    name: Annotated[str, typer.Argument(help="The tag.")],
    store: Store,
    version: Annotated[int | None, typer.Option(min=1, help="The latest without.")] = None,
) -> None:
    """Names a version, which also protects it from compact."""
    from data_pipelines import kb_versions

    typer.echo(f"{name} is version {kb_versions.tag(store, name, version)}")


@app.command(epilog="Example: `rayraft kb untag before-import --store S`")
@clear_errors
def untag(name: Annotated[str, typer.Argument(help="The tag.")], store: Store) -> None:
    """Removes a tag; the version stays."""
    from data_pipelines import kb_versions

    kb_versions.untag(store, name)
    typer.echo(f"no tag {name} any more")


@app.command(epilog="Example: `rayraft kb compact --store S --keep 5 --older-than-days 1`")
@clear_errors
def compact(
    store: Store,
    keep: Annotated[int, typer.Option(min=1, help="Newest versions that stay.")] = 10,
    older_than_days: Annotated[
        float, typer.Option(min=0, help="Younger versions stay, too.")
    ] = 7.0,
) -> None:
    """Joins small files and deletes old versions; tagged ones and those of adapters stay."""
    from data_pipelines import kb_versions

    done = kb_versions.compact(store, keep, timedelta(days=older_than_days))
    typer.echo(_compacted(done))


@app.command(epilog="Example: `rayraft kb reembed --embedder models/e5-small --store S`")
@clear_errors
def reembed(
    store: Store,
    embedder: Annotated[
        str, typer.Option(help="`minilm`, `name-vN` of the store, or a folder with a BERT.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value of the embedding, such as actors=8.")
    ] = None,
) -> None:
    """Embeds all chunks with another embedder and switches at once; start services again then."""
    from data_pipelines.config import EmbeddingConfig
    from data_pipelines.progress import progress_bar
    from data_pipelines.ray_later import ray_when_needed
    from data_pipelines.reembed import reembed as run
    from rayraft.config import load

    settings = load(EmbeddingConfig, None, overrides or ())
    with ray_when_needed() as start_ray, progress_bar("chunks embedded") as advance:
        done = run(store, embedder, settings, advance, start_ray)
    typer.echo(f"version {done.kb_version}, {done.chunks} chunks embedded with {embedder}")
    if done.cut_off:
        typer.echo(f"{done.cut_off} of them are longer than this embedder reads")


@app.command(epilog="Example: `rayraft kb forget manuals/kettle.md --store S --purge`")
@clear_errors
def forget(
    document: Annotated[str, typer.Argument(help="Id of the document.")],
    store: Store,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete all old versions of the knowledge base, too.")
    ] = False,
) -> None:
    """Deletes a document and names the adapters that were trained on it."""
    from data_pipelines.forget import forget as run

    typer.echo(_forgotten(run(store, document, purge), store))


def _compacted(done: "Compacted") -> str:
    return (
        f"{done.versions_removed} versions deleted, {done.bytes_freed / 2**20:.1f} MB freed; "
        f"left are {len(done.kept)}: {done.kept[0]} to {done.kept[-1]}"
    )


def _forgotten(done: "Forgotten", store: str) -> str:
    lines = [f"{done.document_id} is not in version {done.kb_version}"]
    if done.compacted:
        lines.append(_compacted(done.compacted))
    if done.leftovers:
        lines.append(f"deleted: {', '.join(done.leftovers)}")
    if done.versions:
        first, last = done.versions[0], done.versions[-1]
        lines.append(f"still in {len(done.versions)} old versions, {first} to {last}: --purge")
    if done.adapters:
        lines.append(f"adapters trained on it: {', '.join(done.adapters)}")
        lines.append(f"they are retired by: rayraft refresh --erase --store {store} --name NAME")
    if done.runs:
        lines.append(f"RAFT runs that show it: {', '.join(done.runs)}")
    return "\n".join(lines)
