"""A run whose controller or whose node is killed ends as the undisturbed one does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import PlacementGroupID
from ray.cluster_utils import Cluster
from ray.util.placement_group import (
    PlacementGroup,
    placement_group_table,
    remove_placement_group,
)

import train.fit
import train.worker
from rayraft.config import load
from rayraft.errors import ClusterError
from tests.ray.tiny_models import copying_rows, save_seq2seq
from train.config import TrainConfig
from train.fit import FitResult, fit_rows
from train.loop import World
from train.trackers import Tracker
from train.worker import CURVE, RunPlace

STEPS, KILLED_AFTER = 8, 6
SNAPSHOT = "checkpoint_manager_snapshot*"
WAIT_S = 240
ROOT = Path(__file__).parents[2]


def settings(base: str, *overrides: str) -> TrainConfig:
    return load(
        TrainConfig,
        None,
        [
            *(f"base_model={base}", "tuning=full", "precision=fp32", f"max_steps={STEPS}"),
            *("global_batch_size=8", "micro_batch_tokens=48", "max_prompt_tokens=32"),
            *("max_completion_tokens=8", "learning_rate=0.003", "log_every_steps=1"),
            *("checkpoint_every_steps=4", "trackers=[]", "collective_timeout_s=60", *overrides),
        ],
    )


def fit(base: str, storage: str, name: str, *overrides: str) -> FitResult:
    rows, held_out = copying_rows(40), copying_rows(12, seed=1)
    return fit_rows(settings(base, *overrides), rows, RunPlace(storage, name), held_out)


def at_step(
    step: int, folder: Path, then: Callable[[World], None]
) -> Callable[[dict[str, Any]], None]:
    """The worker loop, in which something happens once a step is made and its checkpoint noted."""
    shown = train.worker._show

    def show(
        point: dict[str, float], place: RunPlace, world: World, trackers: Sequence[Tracker] = ()
    ) -> None:
        shown(point, place, world, trackers)
        if point["step"] == step and "loss" in point:
            deadline = time.monotonic() + WAIT_S
            while not list(folder.glob(SNAPSHOT)):  # Ray's controller writes it seconds later
                assert time.monotonic() < deadline
                time.sleep(0.05)
            then(world)

    def loop(values: dict[str, Any]) -> None:
        import train.worker as worker  # the worker's own, which nobody has patched

        worker._show = show
        worker.train_worker(values)

    return loop


def kill_controller(flag: Path) -> Callable[[World], None]:
    """Kills the controller among the processes of this worker's node, once."""

    def kill(world: World) -> None:
        if not world.is_first or flag.exists():
            return
        flag.touch()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command, stat = path.read_bytes(), (path.parent / "stat").read_text()
            except OSError:
                continue  # ended meanwhile
            parent = int(stat.rpartition(")")[2].split()[1])
            if command.startswith(b"ray::TrainController") and parent == os.getppid():
                os.kill(int(path.parent.name), signal.SIGKILL)
        time.sleep(WAIT_S)  # its end comes with the controller's

    return kill


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_seq2seq(tmp_path_factory.mktemp("t5"))


@pytest.fixture
def places_freed(ray_cluster: None) -> Iterator[Callable[[], None]]:
    """Frees the workers' places of a dead controller, as the end of its Ray does."""
    before = set(placement_group_table())

    def free() -> None:
        for name, group in placement_group_table().items():
            if name not in before and group["state"] != "REMOVED":
                remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))

    yield free
    free()


def test_a_killed_controller_is_one_clear_error_and_the_same_call_goes_on(
    places_freed: Callable[[], None],
    base: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, flag = str(tmp_path / "runs"), tmp_path / "killed"
    undisturbed = fit(base, storage, "undisturbed", "workers.count=1")
    with monkeypatch.context() as patch:
        worker = at_step(KILLED_AFTER, tmp_path / "runs" / "run", kill_controller(flag))
        patch.setattr(train.fit, "train_worker", worker)
        with pytest.raises(ClusterError, match="the same command goes on"):
            fit(base, storage, "run", "workers.count=1")
    assert flag.exists()
    places_freed()
    finished = fit(base, storage, "run", "workers.count=1")
    assert_same(finished.curve, undisturbed.curve)
    assert steps_of(tmp_path / "runs" / "run") == [*range(1, 7), *range(5, STEPS + 1)]


def assert_same(curve: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    for key in ("loss", "validation_loss"):
        values = [point[key] for point in curve if key in point]
        assert values == pytest.approx([p[key] for p in expected if key in p], abs=2e-4)
        assert values


def steps_of(folder: Path) -> list[int]:
    lines = (folder / CURVE).read_text().splitlines()
    return [int(point["step"]) for point in map(json.loads, lines) if "loss" in point]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes of one CPU; the second one has a resource by which workers know it."""
    folder = tempfile.mkdtemp(prefix="rf-", dir="/tmp")
    options = {"include_dashboard": False, "temp_dir": folder}
    made = Cluster(head_node_args={"num_cpus": 1, **options}, initialize_head=True)
    try:
        made.add_node(num_cpus=1, resources={"second": 1})
        yield made
    finally:
        made.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def test_training_goes_on_with_the_nodes_that_are_left(
    cluster: Cluster, base: str, tmp_path: Path
) -> None:
    runs, flag = tmp_path / "runs", tmp_path / "waits"
    command = [sys.executable, "-m", __name__, base, str(runs), str(flag)]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + WAIT_S
        while not flag.exists():
            assert driver.poll() is None and time.monotonic() < deadline, "no step 6"
            time.sleep(0.2)
        (second,) = cluster.worker_nodes
        cluster.remove_node(second, allow_graceful=False)
        said, _ = driver.communicate(timeout=WAIT_S)
    finally:
        driver.kill()
    assert driver.returncode == 0, said[-3000:]
    found = json.loads(said.splitlines()[-1])
    assert_same(found["disturbed"], found["undisturbed"])
    assert steps_of(runs / "disturbed") == [*range(1, 7), *range(5, STEPS + 1)]


def _drive(base: str, storage: str, flag: str) -> None:
    """Trains undisturbed with one worker, then with two, of which one waits for its node's end."""
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
    undisturbed = fit(base, storage, "undisturbed", "workers.count=1").curve

    def wait(world: World) -> None:
        here = ray.get_runtime_context().get_node_id()
        on_second = any(n["NodeID"] == here and "second" in n["Resources"] for n in ray.nodes())
        if on_second and not Path(flag).exists():
            Path(flag).touch()
            time.sleep(WAIT_S)

    train.fit.train_worker = at_step(  # type: ignore[attr-defined]
        KILLED_AFTER, Path(storage) / "disturbed", wait
    )
    disturbed = fit(base, storage, "disturbed", "workers.count=1..2", "max_failures=3").curve
    print(json.dumps({"undisturbed": undisturbed, "disturbed": disturbed}))


if __name__ == "__main__":
    _drive(*sys.argv[1:4])
