"""Progress of a command on stderr: a bar on a terminal, a line now and then in a log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_EVERY_S = 30.0
"""Seconds between two lines where there is no terminal (the log of a Ray job, a pipe)."""


class Advance(Protocol):
    """Called with the number done and the number in all."""

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """`detail` is what else there is to say, in a few words."""


def no_progress(done: int, total: int, detail: str = "") -> None:
    """An `Advance` that shows nothing."""


@contextmanager
def progress_bar(description: str, console: Console | None = None) -> Iterator[Advance]:
    """Progress that lives as long as the block; give its value to whatever reports progress."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(description, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=None, detail="")

        def advance(done: int, total: int, detail: str = "") -> None:
            progress.update(task, completed=done, total=total, detail=detail)

        yield advance


class _Lines:
    def __init__(self, description: str, console: Console) -> None:
        self._description = description
        self._console = console
        self._began = time.monotonic()
        self._shown_at = self._began
        self._shown = 0

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        now = time.monotonic()
        if done == self._shown or (now - self._shown_at < LINE_EVERY_S and done != total):
            return
        self._shown_at, self._shown = now, done
        line = f"{self._description} {done}/{total} after {now - self._began:.0f} s"
        self._console.print(f"{line}  {detail}".rstrip(), markup=False, highlight=False)
