"""A service whose generator sleeps, with Serve's proxy before it; only its words are scripted."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from rayraft.errors import InputError
from serve.config import AppConfig
from serve.loopback import Address
from serve.run_file import RunFile
from tests.ray.live_service import start_service
from tests.ray.serve_store import make_store

VIETNAM = "What is the rail allowance in Vietnam?"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("operation") / "store")


@pytest.fixture(scope="module")
def http(ray_cluster, store):
    import ray.serve

    asleep = {"min_replicas": 0, "downscale_delay_s": 1, "num_cpus": 0.2}
    several = {"max_replicas": 2, "num_cpus": 0.1}
    url = start_service(store, api={"scale": several}, generator={"scale": asleep})
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client
    ray.serve.shutdown()


def ask(http):
    body = {"model": "rayraft/rag", "messages": [{"role": "user", "content": VIETNAM}]}
    reply = http.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["message"]["content"]


def generators():
    import ray.serve

    status = ray.serve.status().applications["rayraft"].deployments["ScriptedGenerator"]
    return sum(status.replica_states.values())


def wait_for_sleep():
    deadline = time.monotonic() + 60
    while generators():
        assert time.monotonic() < deadline, "an idle generator did not go"
        time.sleep(0.2)


def test_a_sleeping_generator_is_ready_and_woken_by_requests_of_which_none_fails(http):
    wait_for_sleep()
    for _ in range(3):
        assert http.get("/readyz").status_code == 200
        time.sleep(0.7)
    assert generators() == 0, "a look at readiness has woken it"
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(http), range(6)))
    assert answers == ["EUR"] * 6
    wait_for_sleep()
    assert ask(http) == "EUR"


def test_another_port_than_that_of_a_running_serve_is_refused(http):
    from serve.runner import start

    port = http.base_url.port
    with pytest.raises(InputError, match=rf"port {port + 1} .* listens on 127\.0\.0\.1:{port};"):
        start(RunFile(AppConfig(), Address("127.0.0.1", port + 1)))
