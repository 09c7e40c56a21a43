"""Commands: `run` (mounted as `rayraft serve`) and `ask`."""

import json
import os
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rayraft.commands import clear_errors, new_app, split_overrides
from rayraft.errors import InputError
from serve import ask_command, keys_command
from serve.control_headers import IMPORT_PATH
from serve.loopback import Address
from serve.run_file import SHIPPED, RunFile, check_keys, read_run_file

EPILOG = (
    "Examples: `rayraft serve --store .rayraft/store`\n\n"
    "`rayraft serve --store s3://bucket/store --port 9000 generator.scale.max_replicas=4`\n\n"
    "`rayraft serve --store .rayraft/store --host 0.0.0.0 --keys keys.yaml`"
)

PROXY_CALLBACK = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"

app = new_app("The answering service on Ray Serve, and questions to it.")
ask_command.register(app)
app.add_typer(keys_command.app, name="keys")


@app.command(epilog=EPILOG)
@clear_errors
def run(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings as section.key=value.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Folder or URI of the store; else RAYRAFT_STORE.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Serve file; the shipped one if none.")
    ] = None,
    keys: Annotated[
        str | None, typer.Option(help="File or URI of API keys; needed beyond this machine.")
    ] = None,
) -> None:
    """Serves a store over the OpenAI-compatible HTTP API until Ctrl-C."""
    plain, settings = split_overrides(overrides or [])
    if plain:
        raise InputError(f"argument {plain[0]!r}: expected section.key=value")
    settings += [f"api.keys={json.dumps(keys)}"] if keys else []
    planned = read_run_file(config or SHIPPED, settings, store)
    address = Address(host or planned.address.host, port or planned.address.port)
    planned = replace(planned, address=address)
    check_keys(planned)
    _serve(planned)


def _serve(planned: RunFile) -> None:
    own_ray = "RAY_ADDRESS" not in os.environ
    if own_ray:
        # Ray reads it when it is imported: a Ray of one machine then listens on loopback only
        # (its token authentication is on by default).
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Serve's proxies inherit it, and strip clients' control headers.
        os.environ.setdefault(PROXY_CALLBACK, IMPORT_PATH)
    # Ray forks and execs at once, which Lance's warning does not tell from a fork that goes on.
    warnings.filterwarnings("ignore", message="lance is not fork-safe")
    # Importing Ray and Lance takes seconds, which --help and wrong arguments need not wait for.
    from data_pipelines.kb import KnowledgeBase
    from serve.app import listens_itself, resolve_store
    from serve.listener import held
    from serve.runner import serve_until_stopped

    store = resolve_store(planned.app.store)
    kb_version = KnowledgeBase.open(store).version
    ready = f"{planned.address.url} (kb version {kb_version})"
    with nullcontext() if not own_ray else held(planned.address) as port_held:
        if port_held and not listens_itself(planned.app.api):
            port_held.close()  # free for Serve's proxy
        typer.echo(f"starting the service of {store}", err=True)
        serve_until_stopped(planned, lambda: typer.echo(f"serving {ready}; Ctrl-C stops it"))
    typer.echo("stopped", err=True)


if __name__ == "__main__":
    app()
