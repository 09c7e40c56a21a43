"""What every command line shares: logging, and errors as one line with their exit code.

Used by `data_pipelines`, `train` and `serve` (each `python -m package`) and by the console script.
"""

import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import typer

from rayraft.errors import InputError, RayraftError

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130
"""Exit code of a command stopped from the keyboard (128 + SIGINT), as shells expect."""


def new_app(help_text: str) -> typer.Typer:
    """A Typer application with the project's settings; `help_text` is shown by --help."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
    )


def clear_errors(command: Callable[P, R]) -> Callable[P, R]:
    """`command` that ends with `error: ...` on stderr and the error's exit code.

    Put it under `@app.command()`, so that the mapping holds wherever the command is mounted.
    Defects (every other exception) keep their traceback.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            configure_logging()
            return command(*args, **kwargs)
        except RayraftError as exc:
            fail(str(exc), exc.exit_code)
        except KeyboardInterrupt:
            fail("interrupted", INTERRUPTED)

    return wrapped


def fail(message: str, exit_code: int = 1) -> NoReturn:
    """Ends the command with one line on stderr."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(exit_code)


def configure_logging() -> None:
    """Log lines of this project go to stderr at RAYRAFT_LOG_LEVEL (default WARNING).

    Other libraries stay at WARNING. Called by commands only, never on import.
    """
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
        )
    level = os.environ.get("RAYRAFT_LOG_LEVEL", "WARNING").upper()
    if level not in logging.getLevelNamesMapping():
        raise InputError(f"RAYRAFT_LOG_LEVEL={level!r}: expected DEBUG, INFO, WARNING or ERROR")
    for package in ("rayraft", "data_pipelines", "train", "serve"):
        logging.getLogger(package).setLevel(level)


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Positional arguments as (plain ones, `section.key=value` overrides).

    A path that exists is a path even when its name holds an equals sign.
    """
    plain: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        is_override = "=" in argument and not Path(argument).exists()
        (overrides if is_override else plain).append(argument)
    return plain, overrides
