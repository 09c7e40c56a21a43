"""A service with two routers, a generator that sleeps and an answer cache: what operating it says.

One start serves all; the generator's words are scripted, everything else is real.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from data_pipelines.artifacts import publish
from data_pipelines.kb import KnowledgeBase
from rayraft.manifests import Manifest
from rayraft.prompts import prompt_digest
from tests.ray.live_service import start_service
from tests.ray.serve_store import make_store

VIETNAM = "What is the rail allowance in Vietnam?"
ANSWERERS = 2


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("operation") / "store")
    manifest = Manifest(
        kind="adapter",
        kb_version=KnowledgeBase.open(store).version,
        base_digest="scripted",
        prompt_digest=prompt_digest(),
        config={"method": "raft"},
    )
    files = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}
    for _ in range(2):
        publish(store, "adapter", "support", files, manifest)
    return store


@pytest.fixture(scope="module")
def http(ray_cluster, store):
    import ray.serve

    routers = {"min_replicas": ANSWERERS, "max_replicas": ANSWERERS, "num_cpus": 0.05}
    asleep = {"min_replicas": 0, "downscale_delay_s": 4, "num_cpus": 0.2}
    # The shipped poll of adapters, not a quicker one: its seconds are in the promise.
    answering = {"adapter_poll_s": 2, "scale": routers, "cache": {"enabled": True}}
    url = start_service(store, answering=answering, generator={"scale": asleep})
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client
    ray.serve.shutdown()


def ask(http, model="rayraft/rag", question=VIETNAM, **options):
    messages = [{"role": "user", "content": question}]
    body = {"model": model, "messages": messages, "rayraft": options}
    reply = http.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()["rayraft"], reply.json()["choices"][0]["message"]["content"]


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
        answers = list(pool.map(lambda _: ask(http, cache=False)[1], range(6)))
    assert answers == ["EUR"] * 6
    wait_for_sleep()
    assert ask(http, cache=False)[1] == "EUR"


def seconds_until_all_say(http, adapter):
    """When the last request was sent that another adapter answered; both routers take turns."""
    began, last_old, agreeing = time.monotonic(), 0.0, 0
    for _ in range(500):
        sent = time.monotonic() - began
        details, _ = ask(http, "rayraft/raft", cache=False)
        agreeing += 1
        if details["adapter"] != adapter:
            last_old, agreeing = sent, 0
        if agreeing == 25:  # both were asked, but for a chance of 2**-24
            return last_old
    raise AssertionError(f"{adapter} does not answer everywhere")


def test_promotions_and_rollbacks_reach_every_router_in_under_five_seconds(http):
    import ray.serve

    states = ray.serve.status().applications["rayraft"].deployments["Router"].replica_states
    assert sum(states.values()) == ANSWERERS
    for adapter in ("support-v1", "support-v2"):
        promoted = http.post(f"/v1/adapters/{adapter}/promote")
        assert promoted.json()["champion_of"] == ["reading"]
        assert seconds_until_all_say(http, adapter) < 5
    assert http.post("/v1/adapters:rollback", json={"role": "reading"}).status_code == 200
    assert seconds_until_all_say(http, "support-v1") < 5


def until_kept(http, question):
    """Asks until a router has the answer in its memory; each has its own."""
    for _ in range(20):
        details, text = ask(http, question=question)
        if details["cache"]["outcome"] == "exact":
            return text
    raise AssertionError("no answer is kept")


def test_a_kept_answer_is_given_again_until_a_write(http):
    question = "How many days does the annual leave count?"
    path = "/v1/documents/leave.md"
    assert until_kept(http, question) == "days"
    put = http.put(path, json={"title": "Leave", "text": "The annual leave counts 30 weeks."})
    details, text = ask(http, question=question, min_kb_version=put.json()["kb_version"])
    assert (details["cache"]["outcome"], text) == ("miss", "weeks")
    assert until_kept(http, question) == "weeks"
    metrics = http.get("/metrics").text
    assert 'rayraft_answer_cache_total{outcome="exact"}' in metrics


def test_a_promotion_leaves_no_answer_of_the_adapter_before(http):
    for adapter in ("support-v2", "support-v1"):
        http.post(f"/v1/adapters/{adapter}/promote")
        time.sleep(3)  # the shipped poll, and what a busy machine takes
        said = {ask(http, "rayraft/raft")[0]["adapter"] for _ in range(12)}
        assert said == {adapter}
