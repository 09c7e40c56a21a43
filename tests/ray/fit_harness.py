"""Small trainings by Ray Train, workers that are stopped in them, and how two of them ended."""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import train.worker
from tests.ray import loop_harness
from train.config import TrainConfig
from train.fit import FitResult
from train.loop import World
from train.run_files import CURVE, RunPlace
from train.trackers import Tracker

STEPS = 12
SNAPSHOT = "checkpoint_manager_snapshot*"


def settings(base: str, *overrides: str) -> TrainConfig:
    return loop_harness.settings(
        base,
        f"max_steps={STEPS}",
        "micro_batch_tokens=48",
        "checkpoint_every_steps=4",
        "collective_timeout_s=60",
        "workers.count=2",
        *overrides,
    )


def dying_worker(flag: Path, folder: Path, step: int = 6) -> Callable[[dict[str, Any]], None]:
    """The worker loop, in which worker 1 is killed once, after a step."""
    return worker_that_ends(flag, folder, step, _kill_itself, lambda world: world.world_rank == 1)


def _kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def worker_that_ends(
    flag: Path,
    folder: Path,
    step: int,
    end: Callable[[], None],
    is_victim: Callable[[World], bool],
) -> Callable[[dict[str, Any]], None]:
    """The worker loop, in which `end` is called once, after a step, by the victim."""
    show, began = train.worker._show, time.time()

    def show_or_die(
        point: dict[str, float], place: RunPlace, world: World, trackers: Sequence[Tracker] = ()
    ) -> None:
        show(point, place, world, trackers)
        if point["step"] != step or flag.exists():
            return
        deadline = time.monotonic() + 120
        # Ray's controller takes note of a checkpoint some seconds after the worker made it.
        while not any(p.stat().st_mtime > began for p in folder.glob(SNAPSHOT)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if is_victim(world):
            flag.touch()
            end()

    def worker(values: dict[str, Any]) -> None:
        import train.worker as fit  # the worker's own, which nobody has patched

        fit._show = show_or_die
        fit.train_worker(values)

    return worker


def counting_worker(starts: Path) -> Callable[[dict[str, Any]], None]:
    """The worker loop, which leaves a line for each start."""

    def worker(values: dict[str, Any]) -> None:
        import train.worker as fit  # the worker's own, which nobody has patched

        with starts.open("a") as file:
            file.write("started\n")
        fit.train_worker(values)

    return worker


def weights(result: FitResult) -> dict[str, torch.Tensor]:
    with result.checkpoint.as_directory() as folder:
        return load_file(Path(folder) / "state.safetensors")


def assert_same_end(left: FitResult, right: FitResult) -> None:
    one, other = weights(left), weights(right)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-5, msg=name)


def losses_logged(storage: str, name: str) -> list[tuple[int, float]]:
    """Step and loss, also of steps that were taken twice."""
    lines = (Path(storage) / name / CURVE).read_text().splitlines()
    points = [json.loads(line) for line in lines]
    return [(int(point["step"]), point["loss"]) for point in points if "loss" in point]


def steps_logged(storage: str, name: str) -> list[int]:
    return [step for step, _ in losses_logged(storage, name)]


def losses(result: FitResult) -> list[float]:
    return [point["loss"] for point in result.curve if "loss" in point]
