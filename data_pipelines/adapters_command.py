"""`python -m data_pipelines adapters ...`, `rayraft adapters ...`: the registry of adapters."""

from typing import Annotated

import typer

from rayraft.commands import clear_errors, new_app
from rayraft.errors import InputError

Store = Annotated[str, typer.Option(help="Folder or URI of the store.")]
AdapterId = Annotated[str, typer.Argument(metavar="ADAPTER", help="NAME-vN; NAME is its newest.")]

app = new_app(
    "Published adapters: list, show, compare, canary, promote, rollback, delete. An adapter never "
    "changes and its number is never given again.\n\nExample: `rayraft adapters list --store S`"
)


def register(parent: typer.Typer) -> None:
    """Adds the group to an application."""
    parent.add_typer(app, name="adapters")


@app.command(name="list", epilog="Example: `rayraft adapters list --store .rayraft/store`")
@clear_errors
def list_adapters(store: Store) -> None:
    """One line an adapter, oldest first; champions are marked."""
    from data_pipelines.registry import adapter_lines

    typer.echo("\n".join(adapter_lines(store)))


@app.command(epilog="Example: `rayraft adapters show support-v3 --store .rayraft/store`")
@clear_errors
def show(adapter: AdapterId, store: Store) -> None:
    """Where an adapter comes from, its settings and figures, and how it did in evaluations."""
    from data_pipelines.registry import describe

    typer.echo(describe(store, adapter))


@app.command(epilog="Example: `rayraft adapters compare support-v2 support-v3 --store S`")
@clear_errors
def compare(adapter: AdapterId, other: AdapterId, store: Store) -> None:
    """What differs between two adapters: origin, settings, figures."""
    from data_pipelines.registry import differences

    typer.echo(differences(store, adapter, other))


@app.command(epilog="Example: `rayraft adapters promote support-v3 --store S --note 'F1 +0.03'`")
@clear_errors
def promote(
    adapter: AdapterId,
    store: Store,
    note: Annotated[str, typer.Option(help="Why; kept with the promotion.")] = "",
) -> None:
    """Makes an adapter the one that answers by default; running services follow in seconds."""
    from data_pipelines.artifacts import find
    from data_pipelines.champions import promote as crown

    chosen = find(store, "adapter", adapter).artifact_id
    roles = crown(store, chosen, note)
    typer.echo(f"{chosen} is the champion for {' and '.join(roles)}")


@app.command(epilog="Example: `rayraft adapters canary support-v4 --store S --share 0.1`")
@clear_errors
def canary(
    store: Store,
    adapter: Annotated[
        str | None, typer.Argument(metavar="[ADAPTER]", help="NAME-vN; none ends the canary.")
    ] = None,
    share: Annotated[
        float, typer.Option(help="Share of the requests that name no adapter, up to 0.5.")
    ] = 0.1,
) -> None:
    """Lets an adapter answer a share of the requests; running services follow in seconds.

    The counter `rayraft_answers` tells, by adapter, how many were cited, uncited, abstained from or
    failed. `promote` it or, with no ADAPTER, end it.
    """
    from data_pipelines.canaries import start_canary, stop_canary

    if adapter is None:
        typer.echo(f"{stop_canary(store).adapter_id} is no canary any more")
        return
    running = start_canary(store, adapter, share)
    typer.echo(f"{running.adapter_id} answers {running.share:g} of the requests")


@app.command(epilog="Example: `rayraft adapters rollback --store S --role reading`")
@clear_errors
def rollback(
    store: Store,
    role: Annotated[str, typer.Option(help="reading or memory.")] = "reading",
) -> None:
    """Takes the last promotion back: the champion before answers again."""
    from data_pipelines.champions import ROLES
    from data_pipelines.champions import rollback as take_back

    known = next((one for one in ROLES if one == role), None)
    if known is None:
        raise InputError(f"--role {role!r}: expected {' or '.join(ROLES)}")
    before = take_back(store, known)
    typer.echo(f"{role}: {before or 'no champion, the newest adapter'} answers now")


@app.command(epilog="Example: `rayraft adapters delete support-v1 --store S`")
@clear_errors
def delete(adapter: AdapterId, store: Store) -> None:
    """Removes an adapter's files. A champion is not deleted: promote another or roll back first."""
    from data_pipelines.artifacts import delete as remove
    from data_pipelines.artifacts import find
    from data_pipelines.champions import promotions

    ref = find(store, "adapter", adapter)
    if adapter != ref.artifact_id:
        raise InputError(f"adapter {adapter!r}: name the version to delete, as {ref.artifact_id}")
    crowned = [p.role for p in promotions(store) if p.adapter_id == ref.artifact_id]
    if crowned:
        raise InputError(
            f"adapter {ref.artifact_id}: was promoted to {', '.join(sorted(set(crowned)))}, and a "
            "rollback may bring it back; roll its promotions back first"
        )
    remove(ref)
    typer.echo(f"{ref.artifact_id} is deleted")
