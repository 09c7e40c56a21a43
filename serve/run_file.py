"""Reads `serve/app.yaml` the way Ray's own `serve run` does, for `rayraft serve`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayraft.config import apply_overrides, read_yaml, validate
from rayraft.errors import ConfigError
from serve.config import AppConfig

SHIPPED = Path(__file__).parent / "app.yaml"


@dataclass(frozen=True)
class RunFile:
    """What a run needs: the application's arguments and where to listen."""

    app: AppConfig
    host: str
    port: int


def read_run_file(path: Path, overrides: Sequence[str] = (), store: str | None = None) -> RunFile:
    """The file with `section.key=value` applied to its `args`.

    Raises:
        ConfigError: Not a Serve configuration with one application, or a wrong value.
    """
    values = read_yaml(path)
    applications = values.get("applications")
    if not isinstance(applications, list) or len(applications) != 1:
        raise ConfigError(f"{path}: applications: expected a list with one application")
    args = applications[0].get("args") or {} if isinstance(applications[0], dict) else None
    http = values.get("http_options") or {}
    if not isinstance(args, dict) or not isinstance(http, dict):
        raise ConfigError(f"{path}: args and http_options: expected mappings")
    apply_overrides(args, overrides)
    if store:
        args["store"] = store
    app = validate(AppConfig, args, source=str(path))
    return RunFile(app, str(http.get("host", "127.0.0.1")), _port(http.get("port", 8000), path))


def _port(value: Any, path: Path) -> int:
    if not isinstance(value, int) or not 1 <= value <= 65535:
        raise ConfigError(f"{path}: http_options.port={value!r}: expected 1 to 65535")
    return value
