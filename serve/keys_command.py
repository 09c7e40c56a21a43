"""`rayraft keys`: who may speak to a service, as a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rayraft.commands import clear_errors, new_app
from rayraft.config import validate
from rayraft.errors import InputError

app = new_app("API keys of the service: create, list and revoke them in a file of digests.")

KeysLocation = Annotated[str, typer.Option("--keys", help="File or URI of the keys.")]
Name = Annotated[str, typer.Argument(help="Name of the key: a-z, 0-9 and hyphens.")]
_REQUESTS = "Requests per minute; without it no limit."
_TOKENS = "Tokens per minute; without it no limit."
CREATE_EPILOG = (
    "Examples: `rayraft keys create support-bot --keys keys.yaml --group hr "
    "--requests-per-minute 60`\n\n"
    "`rayraft keys create acme-app --keys keys.yaml --tenant acme --scope ask --scope write`"
)


@app.command(epilog=CREATE_EPILOG)
@clear_errors
def create(  # noqa: PLR0913 - each parameter is one option
    name: Name,
    keys: KeysLocation,
    tenant: Annotated[str | None, typer.Option(help="Tenant; its things are its own.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="ACL group; repeatable.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="ask (the default), write, admin.")
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help=_REQUESTS)] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help=_TOKENS)] = None,
    default_adapter: Annotated[str | None, typer.Option(help="Adapter NAME-vN of raft.")] = None,
) -> None:
    """Makes a key and prints it: this once, since only its digest is kept."""
    from rayraft.provenance import utc_now
    from serve.keys import ApiKey, key_digest, new_secret, write_keys

    known = _known(keys)
    if any(key.name == name for key in known):
        raise InputError(f"key {name!r}: there is one already; revoke it first")
    secret = new_secret()
    values = {
        "name": name,
        "sha256": key_digest(secret),
        "tenant": tenant,
        "groups": group or [],
        "scopes": scope or ["ask"],
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "default_adapter": default_adapter,
        "created": utc_now(),
    }
    write_keys(keys, [*known, validate(ApiKey, values, source=f"key {name}")])
    typer.echo(f"key {name} is in {keys}; it is shown this once:", err=True)
    typer.echo(secret)


@app.command("list", epilog="Example: `rayraft keys list --keys keys.yaml`")
@clear_errors
def list_keys(keys: KeysLocation) -> None:
    """Shows the keys, of which the file holds digests alone."""
    from rich.console import Console
    from rich.table import Table

    from serve.keys import read_keys

    columns = ("key", "tenant", "groups", "scopes", "requests/min", "tokens/min", "adapter")
    table = Table(*columns, "created", box=None)
    for key in read_keys(keys):
        limits = (key.requests_per_minute, key.tokens_per_minute)
        lists = (", ".join(key.groups), ", ".join(key.scopes))
        row = (key.name, key.tenant, *lists, *limits, key.default_adapter, key.created)
        table.add_row(*(str(value or "-") for value in row))
    Console(width=None if Console().is_terminal else 200).print(table)


@app.command(epilog="Example: `rayraft keys revoke support-bot --keys keys.yaml`")
@clear_errors
def revoke(name: Name, keys: KeysLocation) -> None:
    """Removes a key; running services refuse it within seconds."""
    from serve.keys import read_keys, write_keys
    from serve.keys import revoke as without

    write_keys(keys, without(read_keys(keys), name))
    typer.echo(f"key {name} is revoked")


def _known(location: str) -> list[Any]:
    """The keys of the file; none where it is yet to be made."""
    from serve.keys import read_keys

    if "://" not in location and not Path(location).exists():
        return []
    return read_keys(location)
