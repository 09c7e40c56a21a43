"""A training in a cluster of three nodes, one of which is lost: `python -m tests.ray.node_loss`.

A process of its own, because it joins a cluster of its own. Prints the losses as JSON.
"""

import json
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import ray
import ray.data
from ray.cluster_utils import Cluster

from tests.ray.fit_harness import losing_worker, losses, settings
from tests.ray.tiny_models import copying_rows
from train.fit import fit_rows
from train.worker import RunPlace

START_TIMEOUT_S = 240


def main(base: str, storage: str) -> None:
    """Trains with two workers on two nodes; the second is lost after the sixth step."""
    flag = Path(storage) / "lost-node"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        leaving = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        cluster.wait_for_nodes(timeout=START_TIMEOUT_S)

        def lose() -> None:
            while not flag.exists():
                time.sleep(0.1)
            cluster.add_node(num_cpus=1)
            cluster.remove_node(leaving, allow_graceful=False)

        loser = threading.Thread(target=lose, daemon=True)
        loser.start()
        place = RunPlace(storage, "node-lost")
        with mock.patch("train.fit.train_worker", losing_worker(flag, Path(storage) / place.name)):
            finished = fit_rows(settings(base, "max_failures=2"), copying_rows(60), place)
        loser.join(timeout=60)
        print(json.dumps({"lost": flag.exists(), "losses": losses(finished)}))
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
