"""A cluster of two nodes in one process tree, whose second node is lost in the midst of work.

`python -m tests.ray.losing_nodes FOLDER TEMP [PARTS]` does it and leaves `FOLDER/found.json`. By
itself, because the session of the other tests has a Ray of its own.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.serve
from ray.cluster_utils import Cluster

import train.fit
from data_pipelines.config import IngestConfig
from data_pipelines.ingest_job import run_ingest
from serve.config import RetrieverConfig
from serve.scaling import ScaleConfig, deployment_options
from serve.service import Search
from serve.shards import RetrieverShard, ShardedRetriever
from tests.ray.fit_harness import STEPS, losses, losses_logged, settings, worker_that_ends
from tests.ray.serve_store import DOCUMENTS, make_store
from tests.ray.tiny_models import copying_rows, save_seq2seq
from train.fit import fit_rows
from train.loop import World
from train.run_files import RunPlace

FAR = "far"
"""A resource of the nodes that get lost."""
FILES = 60


class Nodes:
    """A head with one CPU, and another node beside it."""

    def __init__(self, temp: str) -> None:
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "include_dashboard": False,
                "object_store_memory": 256 * 2**20,
                "temp_dir": temp,
            },
        )
        self._far: Any = None
        self.add()
        ray.init(address=self._cluster.address, log_to_driver=False, logging_level=logging.ERROR)

    def add(self) -> None:
        """A node that can be lost, with one CPU."""
        if self._far is None:
            self._far = self._cluster.add_node(
                num_cpus=1, resources={FAR: 1}, object_store_memory=256 * 2**20
            )

    @property
    def far_pid(self) -> int:
        """Of the other node's raylet."""
        return int(self._far.all_processes["raylet"][0].process.pid)

    def lose(self) -> None:
        """The other node's raylet is killed at once; a node that is gone already is forgotten."""
        if self._far is not None:
            self._cluster.remove_node(self._far, allow_graceful=False)
            self._far = None

    def end(self) -> None:
        """Everything of it."""
        ray.shutdown()
        self._cluster.shutdown()


def ingest(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """The node goes after the first batches were embedded."""
    source = folder / "documents"
    source.mkdir()
    for number in range(FILES):
        text = f"The shelf {number} holds {number % 7} boxes of screws."
        (source / f"{number}.md").write_text(f"# Shelf {number}\n\n{text}\n")
    config = IngestConfig.model_validate(
        {
            "reading": {"in_process_mb": 0},
            "embedding": {"actors": 2, "batch_chunks": 4, "in_process_chunks": 0},
        }
    )
    lost_at: list[int] = []

    def advance(done: int, total: int, detail: str = "") -> None:
        if done and not lost_at:
            lost_at.append(done)
            nodes.lose()

    report = run_ingest([str(source)], str(folder / "store"), config, advance)
    return {
        "files": FILES,
        "lost_at": lost_at,
        "added": report.added,
        "embedded": report.embedded,
        "quarantined": report.quarantined,
    }


def training(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """The node of one of two workers goes after the sixth step."""
    base, storage = save_seq2seq(folder / "t5"), str(folder / "runs")
    flag = folder / "lost"
    pid = nodes.far_pid

    def end() -> None:
        os.kill(pid, signal.SIGKILL)  # a node is lost as its raylet is
        os.kill(os.getpid(), signal.SIGKILL)

    worker = worker_that_ends(flag, folder / "runs" / "lost", 6, end, is_far)
    vars(train.fit)["train_worker"] = worker
    config = settings(base, "workers.count=1..2", "max_failures=1")
    lost = fit_rows(config, copying_rows(60), RunPlace(storage, "lost"), copying_rows(20, seed=1))
    return {
        "flag": flag.exists(),
        "losses": losses(lost),
        "logged": losses_logged(storage, "lost"),
        "validation_loss": lost.metrics["validation_loss"],
        "last": STEPS,
    }


def is_far(_: World) -> bool:
    """Whether this process is on the other node."""
    node = ray.get_runtime_context().get_node_id()
    return any(n["NodeID"] == node and FAR in n["Resources"] for n in ray.nodes())


def serving(nodes: Nodes, folder: Path) -> dict[str, Any]:
    """The node of two of four shards goes while searches go on; then another takes its place."""
    store = make_store(folder / "served")
    config = RetrieverConfig(shards=4, shard_timeout_s=2, scale=ScaleConfig(num_cpus=0.1))
    options = deployment_options(config.scale)

    def deployed(cls: type, name: str, far: bool) -> Any:
        actor = options["ray_actor_options"] | ({"resources": {FAR: 0.1}} if far else {})
        return ray.serve.deployment(cls, name=name, **options | {"ray_actor_options": actor})

    shards = [
        deployed(RetrieverShard, f"RetrieverShard{n}", far=n % 2 == 1).bind(config, store, n)
        for n in range(4)
    ]
    app = deployed(ShardedRetriever, "Sharded", far=False).bind(config, store, *shards)
    ray.serve.start(proxy_location="Disabled")  # both nodes' proxies would want one port
    handle = ray.serve.run(app, name="shards", route_prefix=None)
    search = Search("rail leave bonus", 10, groups=("board",))
    found = lambda: handle.search.remote(search).result(timeout_s=60)  # noqa: E731
    whole = found()
    with searches(found) as seen:
        _until(lambda: len(seen) > 3)
        nodes.lose()
        _until(lambda: any(one.partial for one in seen if not isinstance(one, Exception)))
        nodes.add()
        _until(lambda: not isinstance(seen[-1], Exception) and not seen[-1].partial)
    ray.serve.shutdown()
    return {
        "documents": len(whole.passages),
        "of": len(DOCUMENTS),
        "whole": not whole.partial,
        "failed": [repr(one) for one in seen if isinstance(one, Exception)],
        "partial": sum(one.partial for one in seen if not isinstance(one, Exception)),
        "same_after": seen[-1].passages == whole.passages,
    }


@contextmanager
def searches(find: Callable[[], Any]) -> Iterator[list[Any]]:
    """What they found, or why not, of two threads that go on while the block runs."""
    seen: list[Any] = []
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            try:
                seen.append(find())
            except Exception as exc:
                seen.append(exc)

    threads = [threading.Thread(target=go_on, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        for thread in threads:
            thread.join(timeout=90)


def _until(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come")
        time.sleep(0.05)


def main(folder: Path, temp: str, parts: str = "") -> None:
    """Each part, or those named, with a node to lose."""
    found: dict[str, Any] = {}
    nodes = Nodes(temp)
    try:
        for part in (ingest, training, serving):
            if parts and part.__name__ not in parts:
                continue
            nodes.add()
            place = folder / part.__name__
            place.mkdir()
            found[part.__name__] = part(nodes, place)
            nodes.lose()
            (folder / "found.json").write_text(json.dumps(found))
    finally:
        nodes.end()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
