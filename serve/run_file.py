"""Reads `serve/app.yaml` the way Ray's own `serve run` does, for `rayraft serve`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rayraft.config import Config, apply_overrides, read_yaml, validate
from rayraft.errors import InputError
from serve.config import AppConfig
from serve.loopback import Address, is_loopback

SHIPPED = Path(__file__).parent / "app.yaml"


class HttpOptions(Config):
    """Where the service listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)


class Application(Config):
    """The one application; what `rayraft serve` does not vary may be said but not changed."""

    name: Literal["rayraft"] = "rayraft"
    route_prefix: Literal["/"] = "/"
    import_path: Literal["serve.app:build_app"] = "serve.app:build_app"
    args: dict[str, Any] | None = None
    """`serve.config.AppConfig`, once the overrides are applied."""


class ServeFile(Config):
    """The keys of Ray's Serve files that `rayraft serve` acts on: others would change nothing."""

    proxy_location: Literal["HeadOnly"] = "HeadOnly"
    http_options: HttpOptions | None = None
    applications: list[Application] = Field(min_length=1, max_length=1)


@dataclass(frozen=True)
class RunFile:
    """What a run needs: the application's arguments and where to listen."""

    app: AppConfig
    address: Address


def read_run_file(path: Path, overrides: Sequence[str] = (), store: str | None = None) -> RunFile:
    """The file with `section.key=value` applied to its `args`.

    Raises:
        ConfigError: Not a Serve configuration with one application, or a wrong key or value.
    """
    file = validate(ServeFile, read_yaml(path), source=str(path))
    args = dict(file.applications[0].args or {})
    apply_overrides(args, overrides)
    if store:
        args["store"] = store
    app = validate(AppConfig, args, source=str(path))
    http = file.http_options or HttpOptions()
    return RunFile(app, Address(http.host, http.port))


def check_keys(run: RunFile) -> None:
    """Refuses to listen beyond this machine without API keys, and keys that cannot be read.

    Raises:
        InputError: There are no keys and the address is not loopback.
        ConfigError: The keys cannot be read.
    """
    if run.app.api.keys:
        from serve.keys import read_keys

        if not read_keys(run.app.api.keys):
            raise InputError(f"keys file {run.app.api.keys}: it has no key; `rayraft keys create`")
    elif not is_loopback(run.address.host):
        raise InputError(
            f"host {run.address.host} can be reached from other machines, which takes API keys: "
            "make one with `rayraft keys create NAME --keys keys.yaml`, then give --keys keys.yaml"
        )
