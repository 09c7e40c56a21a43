"""`python -m data_pipelines export`, `rayraft export`: RAFT examples for other trainers."""

from pathlib import Path
from typing import Annotated

import typer

from rayraft.commands import clear_errors
from rayraft.errors import InputError

EPILOG = (
    "Examples: `python -m data_pipelines export --store .rayraft/store --out train.jsonl`\n\n"
    "`python -m data_pipelines export --store .rayraft/store --format gorilla-completion "
    "--split validation --out validation.parquet`"
)


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command(name="export", epilog=EPILOG)(clear_errors(export))


def export(
    store: Annotated[str, typer.Option(help="Folder or URI of the store.")],
    out: Annotated[Path, typer.Option(help="File to write, .jsonl or .parquet.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="parquet, messages (OpenAI, TRL), prompt-completion (TRL), gorilla-hf, "
            "gorilla-completion, gorilla-chat or gorilla-eval.",
        ),
    ] = "messages",
    run: Annotated[str | None, typer.Option(help="RAFT run; the newest without.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or all.")] = "train",
) -> None:
    """Writes the examples of a RAFT run into one file that other trainers read.

    Parquet or JSON lines, by the ending of the file's name; format `parquet` holds every field.
    """
    from data_pipelines.artifacts import latest
    from data_pipelines.raft_exports import FORMATS
    from data_pipelines.raft_exports import export as exported
    from data_pipelines.raft_reading import SPLITS, read_run
    from data_pipelines.stores import open_filesystem, write_file
    from rayraft.records import RaftExample

    if split not in (*SPLITS, "all"):
        raise InputError(f"--split {split!r}: expected train, validation or all")
    if form not in FORMATS:
        raise InputError(f"--format {form!r}: expected one of {', '.join(FORMATS)}")
    if out.suffix not in (".jsonl", ".parquet"):
        raise InputError(f"--out {out}: expected a name that ends in .jsonl or .parquet")
    if form == "parquet" and out.suffix != ".parquet":
        raise InputError(f"--out {out}: format parquet needs a name that ends in .parquet")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}")
    ref = latest(store, "raft", run)
    tables = read_run(ref)
    examples = [
        RaftExample.model_validate(row)
        for name in (SPLITS if split == "all" else (split,))
        for row in tables[name].to_pylist()
    ]
    if not examples:
        raise InputError(f"{ref.uri}: has no {split} examples")
    content = exported(examples, form, out.suffix == ".parquet")
    filesystem, folder = open_filesystem(str(out.parent))
    write_file(filesystem, f"{folder}/{out.name}", content)
    typer.echo(f"{out}: {len(examples)} examples of {ref.uri}, format {form}")
