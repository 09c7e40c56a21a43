"""The training as a Ray job on a cluster of its own: the way it runs on a real one."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from data_pipelines.artifacts import latest, read_manifest
from tests.ray.raft_toy import publish_toy_run
from tests.ray.tiny_models import save_seq2seq

ROOT = Path(__file__).parents[2]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
START_TIMEOUT_S = 240


@dataclass(frozen=True)
class Cluster:
    """A cluster of one node."""

    dashboard: str
    environment: dict[str, str]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """`ray start --head --block`, ended with its own process group."""
    gcs, dashboard, client, agent, agent_grpc, metrics, runtime_env = free_ports(7)
    with tempfile.TemporaryDirectory(prefix="rj-", dir="/tmp") as folder:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        options = {
            "port": gcs,
            "dashboard-port": dashboard,
            "ray-client-server-port": client,
            "dashboard-agent-listen-port": agent,
            "dashboard-agent-grpc-port": agent_grpc,
            "metrics-export-port": metrics,
            "runtime-env-agent-port": runtime_env,
            "dashboard-host": "127.0.0.1",
            "node-ip-address": "127.0.0.1",
            "num-cpus": 2,
            "object-store-memory": 256 * 2**20,
            "temp-dir": folder,
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        head = subprocess.Popen(
            [*RAY, "start", "--head", "--block", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            url = f"http://127.0.0.1:{dashboard}"
            wait_for(f"{url}/api/jobs/", head)
            yield Cluster(url, environment)
        finally:
            head.terminate()  # the blocking process ends those that it started
            head.communicate(timeout=120)


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        try:
            with urlopen(url, timeout=5) as response:
                assert response.status == 200
                return
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(1)
    raise AssertionError(f"{url} did not answer within {START_TIMEOUT_S} s")


@pytest.mark.slow
def test_submitted_training_publishes_an_adapter(cluster: Cluster, tmp_path: Path) -> None:
    store, base = str(tmp_path / "store"), save_seq2seq(tmp_path / "t5")
    publish_toy_run(store, "run-1", range(16), range(4), kb_version=2)
    command = [
        *RAY,
        *("job", "submit", "--address", cluster.dashboard, "--working-dir", str(ROOT)),
        *("--", "python", "-m", "train", "fit", "--store", store),
        *("--config", "train/lora.yaml", "--name", "job"),
        *(f"base_model={base}", "max_steps=4", "global_batch_size=8"),
        "log_every_steps=2",
    ]
    done = subprocess.run(
        command, env=cluster.environment, capture_output=True, text=True, timeout=560, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "job-v1" in done.stdout
    published = read_manifest(latest(store, "adapter", "job"))
    assert published.kb_version == 2
    assert published.metrics["step"] == 4
