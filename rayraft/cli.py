"""The console script: one front for the commands of every stage.

It mounts the very commands that `python -m data_pipelines|train|serve` run, under one name each.
Their modules import Ray and torch inside the commands, so that `--help` is quick.
"""

import copy
import importlib
import inspect
from dataclasses import dataclass

import typer

import rayraft
from rayraft.commands import new_app

HELP = """Fine-tuning and retrieval as one answering service over your documents.

A knowledge base goes through **ingest**, **raft** (training examples), **train** (a LoRA
adapter), **evaluate**, **router** (which mode for which question) and **serve**; **ask** and
**search** question it; **compare** says which way of answering is best for your data. As
documents change and
people give **feedback**, **drift** says how stale what was trained is, **refresh** brings it up,
and **adapters** keeps it; **keys** says who may speak to a service; **export** hands examples to
other trainers; **demo** does it all.

Examples:

    rayraft demo
    rayraft ingest documents/ --store .rayraft/store
    rayraft COMMAND --help
"""


@dataclass(frozen=True)
class Mounted:
    """Where a command of the front comes from."""

    name: str
    module: str
    """Module with the Typer application `app`."""
    command: str
    """The command's name in that application."""


COMMANDS = (
    Mounted("ingest", "data_pipelines.__main__", "ingest"),
    Mounted("search", "data_pipelines.__main__", "search"),
    Mounted("raft", "data_pipelines.__main__", "raft"),
    Mounted("export", "data_pipelines.__main__", "export"),
    Mounted("train", "train.__main__", "fit"),
    Mounted("tune", "train.__main__", "tune"),
    Mounted("train-reranker", "train.__main__", "reranker"),
    Mounted("train-embedder", "train.__main__", "embedder"),
    Mounted("refresh", "train.__main__", "refresh"),
    Mounted("drift", "data_pipelines.__main__", "drift"),
    Mounted("feedback", "data_pipelines.__main__", "feedback"),
    Mounted("evaluate", "train.__main__", "evaluate"),
    Mounted("compare", "train.__main__", "compare"),
    Mounted("advise", "train.__main__", "advise"),
    Mounted("router", "train.__main__", "router"),
    Mounted("serve", "serve.__main__", "run"),
    Mounted("ask", "serve.__main__", "ask"),
    Mounted("demo", "rayraft.demo.__main__", "demo"),
)


GROUPS = (
    Mounted("adapters", "data_pipelines.__main__", "adapters"),
    Mounted("kb", "data_pipelines.__main__", "kb"),
    Mounted("keys", "serve.__main__", "keys"),
)
"""Groups of commands, mounted whole."""


def build_app() -> typer.Typer:
    """The application with every stage's commands mounted."""
    app = new_app(HELP)
    for mounted in GROUPS:
        stage: typer.Typer = importlib.import_module(mounted.module).app
        app.registered_groups += [g for g in stage.registered_groups if g.name == mounted.command]
    for mounted in COMMANDS:
        stage = importlib.import_module(mounted.module).app
        app.registered_commands.append(_renamed(stage, mounted))
    app.command(epilog="Example: `rayraft version`")(version)
    return app


def version() -> None:
    """Prints the version."""
    typer.echo(f"rayraft {rayraft.__version__}")


def main() -> None:
    """Entry point of the console script."""
    build_app()(prog_name="rayraft")


def _renamed(stage: typer.Typer, mounted: Mounted) -> typer.models.CommandInfo:
    for info in stage.registered_commands:
        name = info.name or getattr(info.callback, "__name__", "").replace("_", "-")
        if name == mounted.command:
            renamed = copy.copy(info)
            renamed.name = mounted.name
            renamed.help = _as_typed_here(info.help or inspect.getdoc(info.callback), mounted)
            renamed.epilog = _as_typed_here(info.epilog, mounted)
            return renamed
    raise LookupError(f"{mounted.module} has no command {mounted.command!r}")


def _as_typed_here(text: str | None, mounted: Mounted) -> str | None:
    """Help whose examples name this front instead of the stage's own module."""
    if text is None:
        return None
    package = mounted.module.removesuffix(".__main__")
    return text.replace(f"python -m {package} {mounted.command}", f"rayraft {mounted.name}")


if __name__ == "__main__":
    main()
