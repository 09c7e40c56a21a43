"""`python -m rayraft.demo`, `rayraft demo`, `make demo`."""

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from rayraft.commands import clear_errors, new_app, split_overrides
from rayraft.demo.pace import CHUNKS, QUESTIONS, TRAIN_STEPS
from rayraft.errors import InputError

app = new_app("The whole path on one corpus.")


def _paced(lowest: int, highest: int, whole: int, text: str) -> Any:
    """An option that the machine's pace decides where it is not given."""
    shown = f"{whole}, fewer on a slow machine"
    return typer.Option(min=lowest, max=highest, help=text, show_default=shown)


Questions = Annotated[
    int | None, _paced(4, 10_000, QUESTIONS, "Questions to evaluate on, evenly by kind.")
]
Chunks = Annotated[
    int | None, _paced(1, 1_000_000, CHUNKS, "Chunks that RAFT examples are made from.")
]
TrainSteps = Annotated[
    int | None, _paced(1, 100_000, TRAIN_STEPS, "Optimizer steps of the RAFT adapter.")
]


@app.command(
    epilog="Examples: `rayraft demo`\n\n"
    "`rayraft demo my-documents/ --questions 40 --train-steps 100 "
    "ingest.chunking.chunk_tokens=120 evaluate.k=6`"
)
@clear_errors
def demo(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA] [STAGE.KEY=VALUE]...",
            help="Folder of your documents (default: the example corpus); settings of the stages "
            "ingest, raft, train, evaluate and serve.",
        ),
    ] = None,
    work: Annotated[
        Path, typer.Option(help="Folder of the run; what an earlier demo left in it is removed.")
    ] = Path(".rayraft/demo"),
    questions: Questions = None,
    chunks: Chunks = None,
    train_steps: TrainSteps = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the service; 0 takes a free one.")
    ] = 0,
) -> None:
    """Runs every stage, talks with the service and ends with a table.

    Ingest, RAFT examples, two adapters, evaluation, service, a question, a changed document, the
    same question again, evaluation of what changed. Each command is printed before it runs.
    """
    from rayraft.demo.overrides import by_stage
    from rayraft.demo.run import DemoSettings, run_demo

    folders, overrides = split_overrides(arguments or [])
    if len(folders) > 1:
        raise InputError(f"argument {folders[1]!r}: expected one folder, then stage.key=value")

    # Started in the background of a script, SIGINT is ignored, here and in every child.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    settings = DemoSettings(
        data=Path(folders[0]) if folders else None,
        work=work,
        questions=questions,
        chunks=chunks,
        train_steps=train_steps,
        port=port,
        overrides=by_stage(overrides),
    )
    run_demo(settings)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # what Ctrl-C does: the children are stopped on the way out


if __name__ == "__main__":
    app(prog_name="python -m rayraft.demo")
