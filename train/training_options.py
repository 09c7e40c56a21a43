"""What the commands that train share: their options and their session."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from train.adapter import Watch
    from train.config import TrainConfig

T = TypeVar("T")

Store = Annotated[str, typer.Option(help="Folder or URI of the store.")]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML file; defaults without.")]
RaftRun = Annotated[str | None, typer.Option(help="RAFT run; the newest without.")]
QuestionFile = Annotated[
    Path | None,
    typer.Option(help="JSONL of people's questions with gold_ids, in place of a RAFT run."),
]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster; RAY_ADDRESS or this machine without.")
]
Overrides = Annotated[list[str] | None, typer.Argument(help="section.key=value")]


def in_session(settings: "TrainConfig", address: str | None, train: "Callable[[Watch], T]") -> T:
    """What `train` returns, run with Ray and a progress bar.

    Raises:
        ConfigError: The cluster has not what the workers ask for.
    """
    from data_pipelines.progress import progress_bar
    from data_pipelines.ray_session import ray_session
    from train.resources import check_resources
    from train.watching import watching

    if address:
        os.environ["RAY_ADDRESS"] = address
    with ray_session():
        check_resources(settings.workers)
        with progress_bar("training steps") as advance, watching(advance) as watch:
            return train(watch)
