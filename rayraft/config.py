"""The one configuration loader: `default < YAML < section.key=value`, nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from rayraft.errors import ConfigError

NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
"""What parsing raises; the last two for 2026-02-30, bytes that are not UTF-8, and deep nesting."""


class Config(BaseModel):
    """Base of every configuration class; they stand beside their owners."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


C = TypeVar("C", bound=Config)


def load(cls: type[C], path: str | Path | None = None, overrides: Sequence[str] = ()) -> C:
    """The configuration of `cls` from a YAML file (or defaults) with overrides applied.

    Args:
        cls: The configuration class.
        path: YAML file with a mapping at its top, or None for the defaults.
        overrides: `section.key=value` strings; the value is parsed as YAML.

    Raises:
        ConfigError: Unknown key, value out of bounds, unreadable file; names field and value.
    """
    values = read_yaml(path) if path is not None else {}
    apply_overrides(values, overrides)
    return validate(cls, values, source=str(path) if path is not None else "defaults")


def validate(cls: type[C], values: dict[str, Any], source: str) -> C:
    """`values` as `cls`; pydantic's report becomes one line.

    Raises:
        ConfigError: Names each offending field, its value and what it must be.
    """
    try:
        return cls(**values)
    except ValidationError as exc:
        raise ConfigError(f"{source}: {explain(exc)}") from exc
    except TypeError as exc:  # keys that are not strings
        raise ConfigError(f"{source}: {exc}") from exc


def explain(error: ValidationError) -> str:
    """One line that names every offending field, its value and the bound."""
    lines = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"]) or "configuration"
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key {field}")
        else:
            lines.append(f"{field}={item.get('input')!r}: {item['msg']}")
    return "; ".join(lines)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping at the top of a YAML file.

    Raises:
        ConfigError: The file is missing, is not YAML, or holds no mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"configuration file {path}: {exc.strerror}") from exc
    except NOT_YAML as exc:
        raise ConfigError(f"configuration file {path}: {' '.join(str(exc).split())}") from exc
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"configuration file {path}: expected a mapping at the top")
    return values


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> None:
    """Sets each `section.key=value` in the nested mapping `values`; the value is parsed as YAML.

    An item of a list is named by its place: `stages.0.rows=100`.

    Raises:
        ConfigError: Not of this form.
    """
    for override in overrides:
        _apply(values, override)


def _apply(values: dict[str, Any], override: str) -> None:
    key, sep, raw = override.partition("=")
    if not sep or not key:
        raise ConfigError(f"override {override!r}: expected section.key=value")
    *parents, leaf = key.split(".")
    node: Any = values
    for parent in parents:
        if isinstance(node, list):
            node = node[_place(override, parent, node)]
        else:
            node = node.setdefault(parent, {})
        if not isinstance(node, dict | list):
            raise ConfigError(f"override {override!r}: {parent} is not a section")
    try:
        value = yaml.safe_load(raw)
    except NOT_YAML as exc:
        raise ConfigError(f"override {override!r}: value is not YAML") from exc
    node[_place(override, leaf, node) if isinstance(node, list) else leaf] = value


def _place(override: str, name: str, items: list[Any]) -> int:
    if not (name.isascii() and name.isdigit()) or int(name) >= len(items):
        raise ConfigError(f"override {override!r}: {name} is not from 0 to {len(items) - 1}")
    return int(name)
