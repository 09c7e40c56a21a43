"""The running service: every deployment real but the model's words, spoken to over HTTP."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import openai
import pytest
from typer.testing import CliRunner

from data_pipelines.artifacts import publish
from data_pipelines.kb import KnowledgeBase
from rayraft.client import ask_service
from rayraft.errors import RayraftError
from rayraft.manifests import Manifest
from rayraft.models.embedder import Embedder
from rayraft.prompts import ABSTAIN, prompt_digest
from rayraft.protocols import AskRequest
from serve.__main__ import app
from tests.ray.live_service import chat, follow_changes, said, start_service, version_of
from tests.ray.serve_store import make_store

VIETNAM = "What is the rail allowance in Vietnam?"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("serve") / "store")


@pytest.fixture(scope="module")
def url(ray_cluster, store):
    import ray.serve

    yield start_service(store)
    ray.serve.shutdown()


@pytest.fixture(scope="module")
def http(url):
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def test_chat_answers_from_a_document_and_cites_it(client, http):
    reply = chat(client, VIETNAM)
    details = reply.model_extra["rayraft"]
    assert said(reply) == "EUR"
    assert details["mode"] == "rag" and details["kb_version"] == version_of(http)
    (citation,) = details["citations"]
    assert citation["document_id"] == "travel/rail.md"
    assert "Vietnam is 40 EUR" in citation["quote"]
    text = http.get("/v1/documents/travel/rail.md").json()["text"]
    assert text[citation["start"] : citation["end"]] == citation["quote"]
    assert set(details["timings_ms"]) == {"route", "retrieve", "generate", "total"}
    assert reply.usage.completion_tokens == 5


def test_streamed_pieces_join_to_the_same_answer(client):
    stream = client.chat.completions.create(
        model="rayraft/rag",
        messages=[{"role": "user", "content": "How much annual leave is there?"}],
        stream=True,
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == said(chat(client, "How much annual leave is there?")) == "days"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].model_extra["rayraft"]["citations"]


def test_metadata_filter_reaches_the_search(client):
    reply = chat(client, "What is the rail allowance?", where={"region": "DE"}, passages=True)
    shown = reply.model_extra["rayraft"]["passages"]
    assert [passage["document_id"] for passage in shown] == ["travel/rail-de.md"]


def test_embeddings_are_the_knowledge_bases(client):
    texts = ["rail travel", "annual leave"]
    vectors = client.embeddings.create(model="rayraft/embedding", input=texts)
    got = np.array([item.embedding for item in vectors.data])
    assert np.allclose(got, Embedder.load(threads=1).embed(texts), atol=2e-2)
    assert vectors.usage.prompt_tokens == 4


def test_search_ranks_the_right_document_first(http):
    found = http.post("/v1/search", json={"query": VIETNAM, "k": 2}).json()
    assert found["data"][0]["document_id"] == "travel/rail.md"
    assert found["data"][0]["dense_score"] > 0.4 and found["data"][0]["sparse_score"] > 0


def test_written_document_is_read_at_its_version_and_gone_after_its_deletion(client, http):
    path, question = "/v1/documents/fees/parking%20lot.md", "What does the parking lot cost?"
    before = version_of(http)
    put = http.put(path, json={"title": "Parking", "text": "The parking lot cost is Seven."})
    first = put.json()["kb_version"]
    assert first > before
    reply = chat(client, question, min_kb_version=first)
    assert said(reply) == "Seven"
    assert reply.model_extra["rayraft"]["kb_version"] >= first
    second = http.put(path, json={"title": "Parking", "text": "The parking lot cost is Nine."})
    assert said(chat(client, question, min_kb_version=second.json()["kb_version"])) == "Nine"
    same = http.put(path, json={"title": "Parking", "text": "The parking lot cost is Nine."})
    assert same.json()["kb_version"] == second.json()["kb_version"], "nothing changed"
    assert http.get(path).json()["text"] == "The parking lot cost is Nine."
    deleted = http.delete(path)
    assert deleted.json()["deleted"] is True
    last = deleted.json()["kb_version"]
    found = http.post("/v1/search", json={"query": question, "min_kb_version": last}).json()
    assert "fees/parking lot.md" not in [item["document_id"] for item in found["data"]]
    assert said(chat(client, question, min_kb_version=last)) == ABSTAIN
    assert http.get(path).status_code == http.delete(path).status_code == 404


def test_version_written_by_another_process_is_followed_without_a_restart(client, http, store):
    written = subprocess.run(
        [sys.executable, "-m", "tests.ray.serve_store", store, "news", "The mascot is a Walrus."],
        capture_output=True,
        text=True,
        check=True,
    )
    version = int(written.stdout)
    deadline = time.monotonic() + 20
    while version_of(http) < version:  # nobody asks for the version: the retriever polls
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert said(chat(client, "Which animal is the mascot?")) == "Walrus"


def test_version_that_does_not_come_is_504(client, http):
    with pytest.raises(openai.APIStatusError) as late:
        chat(client, VIETNAM, min_kb_version=10**9)
    assert late.value.status_code == 504
    error = late.value.response.json()["error"]
    assert error["type"] == "timeout_error"
    assert "1000000000" in error["message"] and "Traceback" not in error["message"]
    found = http.post("/v1/search", json={"query": "x", "min_kb_version": 10**9})
    assert found.status_code == 504


def test_restricted_document_shows_in_no_answer_search_or_error(client, http):
    question = "What is the secret bonus of the board?"
    for k in (1, 4, 20):
        reply = chat(client, question, k=k, passages=True)
        assert "zanzibar" not in reply.model_dump_json().lower()
    for method in ("hybrid", "dense", "sparse"):
        body = {"query": "zanzibar secret bonus board", "k": 20, "method": method}
        assert "zanzibar" not in http.post("/v1/search", json=body).text
    path = "/v1/documents/secret/bonus.md"
    missing = http.get("/v1/documents/secret/none.md").json()["error"]["message"]
    read = http.get(path)
    assert read.status_code == 404
    assert read.json()["error"]["message"] == missing.replace("none.md", "bonus.md")
    assert http.delete(path).status_code == 404
    assert http.put(path, json={"text": "mine"}).status_code == 404
    claimed = http.post("/v1/search", json={"query": "bonus", "groups": ["board"]})
    assert claimed.status_code == 403


def test_adapter_is_listed_and_used_as_soon_as_it_is_published(client, store):
    with pytest.raises(openai.NotFoundError, match="adapter"):
        chat(client, VIETNAM, model="rayraft/raft")
    now = KnowledgeBase.open(str(store)).version
    manifest = Manifest(
        kind="adapter",
        kb_version=now,
        base_digest="scripted",
        prompt_digest=prompt_digest(),
        config={"method": "raft"},
    )
    files = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}
    ref = publish(store, "adapter", "support", files, manifest)
    publish(store, "adapter", "misfit", files, manifest.model_copy(update={"base_digest": "x"}))
    time.sleep(0.2)
    models = [model.id for model in client.models.list()]
    assert "rayraft/raft@support-v1" in models and "rayraft/raft@misfit-v1" not in models
    for model in ("rayraft/raft", f"rayraft/raft@{ref.artifact_id}", "rayraft"):
        details = chat(client, VIETNAM, model=model).model_extra["rayraft"]
        assert (details["mode"], details["adapter"]) == ("raft", "support-v1"), details
    assert "versions behind" in details["route"]
    for missing in ("support-v2", "misfit-v1"):
        with pytest.raises(openai.NotFoundError, match=missing):
            chat(client, VIETNAM, model=f"rayraft/raft@{missing}")
    publish(store, "adapter", "support", files, manifest)
    follow_changes(store, client, VIETNAM)


def test_overload_is_refused_with_429_and_what_is_taken_is_answered(http):
    slow = [{"role": "user", "content": f"slow: {VIETNAM}"}]
    body = {"model": "rayraft/rag", "messages": slow}
    with ThreadPoolExecutor(24) as pool:
        posts = [pool.submit(http.post, "/v1/chat/completions", json=body) for _ in range(24)]
        replies = [post.result() for post in posts]
    statuses = {reply.status_code for reply in replies}
    assert statuses == {200, 429}
    for reply in replies:
        if reply.status_code == 429:
            assert int(reply.headers["retry-after"]) >= 1
            assert reply.json()["error"]["type"] == "rate_limit_error"
        else:
            assert reply.json()["choices"][0]["message"]["content"] == "EUR"


def test_client_that_leaves_a_stream_does_not_hold_the_engine(http, client):
    messages = [{"role": "user", "content": VIETNAM}]
    body = {"model": "rayraft/rag", "messages": messages, "stream": True}
    for _ in range(6):
        with http.stream("POST", "/v1/chat/completions", json=body) as reply:
            next(reply.iter_bytes())
    assert said(chat(client, VIETNAM)) == "EUR"


def test_bad_json_and_an_unknown_model_are_clear_errors(http):
    headers = {"content-type": "application/json"}
    bad = http.post("/v1/chat/completions", content=b"{", headers=headers)
    assert bad.status_code == 400 and "not JSON" in bad.json()["error"]["message"]
    body = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "x"}]})
    unknown = http.post("/v1/chat/completions", content=body, headers=headers)
    assert unknown.status_code == 404


@pytest.mark.parametrize("mode", ["rag", "blend", "rag_token"])
def test_ask_command_speaks_to_the_service(url, mode):
    arguments = ["ask", VIETNAM, "--url", url, "--mode", mode, "--weight", "0.7", "--explain"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "EUR"
    assert all(said in result.stdout for said in ("travel/rail.md", "kb version", mode))
    unknown = CliRunner().invoke(app, ["ask", "Q?", "--url", url, "--mode", "magic"])
    # Ray writes its workers' log lines to the same stream of this process.
    errors = [line for line in unknown.stderr.splitlines() if line.startswith("error:")]
    assert unknown.exit_code == 2 and len(errors) == 1 and "rayraft/magic" in errors[0]


def test_local_client_maps_service_errors(url):
    with pytest.raises(RayraftError, match="1000000000"):
        ask_service(url, AskRequest(question="Q", mode="rag", min_kb_version=10**9))
