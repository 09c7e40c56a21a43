"""The loss curve of a running training, read from its file while Ray Train works."""

import datetime
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data_pipelines.progress import Advance
from train.run_files import CURVE, RunPlace

POLL_S = 0.5


@contextmanager
def watching(progress: Advance) -> Iterator[Callable[[RunPlace], None]]:
    """Reports the steps of the run that the yielded function is told of.

    A run that is kept in a bucket has no such file, and is not reported.
    """
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def watch(place: RunPlace) -> None:
        path = Path(place.storage) / place.name / CURVE
        thread = threading.Thread(target=_follow, args=(path, progress, ended), daemon=True)
        thread.start()
        threads.append(thread)

    try:
        yield watch
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _follow(path: Path, progress: Advance, ended: threading.Event) -> None:
    while True:
        last = ended.wait(POLL_S)
        point = last_training_point(path)
        if point is not None:
            progress(int(point["step"]), int(point["total_steps"]), detail(point))
        if last:
            return


def detail(point: dict[str, float]) -> str:
    """Loss, speed and the time that is left, in a few words."""
    left = datetime.timedelta(seconds=round(point["eta_s"]))
    return f"loss {point['loss']:.3f}, {point['tokens_per_s']:,.0f} tokens/s, {left} left"


def last_training_point(path: Path) -> dict[str, float] | None:
    """The newest point with a training loss; None while there is none."""
    if not path.is_file():
        return None
    for line in reversed(path.read_text(encoding="utf-8").splitlines()):
        if line.endswith("}"):  # the last line may be half written
            point: dict[str, float] = json.loads(line)
            if "total_steps" in point:
                return point
    return None
