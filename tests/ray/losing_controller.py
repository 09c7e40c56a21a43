"""A training whose controller is killed after its sixth step.

`python -m tests.ray.losing_controller FOLDER TEMP` leaves `FOLDER/found.json`.
"""

import json
import os
import signal
import sys
from pathlib import Path

import ray

import train.fit
from rayraft.demo.http import free_port
from tests.ray.fit_harness import losses_logged, settings, worker_that_ends
from tests.ray.tiny_models import copying_rows, save_seq2seq
from train.fit import fit_rows
from train.run_files import RunPlace


def kill_controller() -> None:
    """The actor of Ray Train that started this worker."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_bytes()
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if b"TrainController" in name and int(parent) == os.getppid():
            os.kill(int(process.name), signal.SIGKILL)
            return
    raise LookupError("no controller")


def main(folder: Path, temp: str) -> None:
    """One run, with two workers."""
    # With the state API and its address, as a Ray job has them: without, Ray Train's cleaner cannot
    # see that the controller is gone (nor, unless told, which of several Rays of a machine is
    # meant), and the workers' places are never free again.
    port = free_port()
    os.environ["RAY_GCS_SERVER_PORT"] = str(port)
    os.environ["RAY_ADDRESS"] = f"{ray.util.get_node_ip_address()}:{port}"
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=True,
        dashboard_port=free_port(),
        _temp_dir=temp,
    )
    base, storage = save_seq2seq(folder / "t5"), str(folder / "runs")
    flag = folder / "lost"
    worker = worker_that_ends(
        flag, folder / "runs" / "lost", 6, kill_controller, lambda world: world.world_rank == 1
    )
    vars(train.fit)["train_worker"] = worker
    config = settings(base, "max_failures=1")
    fit_rows(config, copying_rows(60), RunPlace(storage, "lost"))
    found = {"flag": flag.exists(), "logged": losses_logged(storage, "lost")}
    (folder / "found.json").write_text(json.dumps(found))
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
