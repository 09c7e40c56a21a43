"""`python -m serve run` as a person runs it: a process of its own, the shipped model, Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time

import grpc  # type: ignore[import-untyped]
import httpx2
import psutil  # type: ignore[import-untyped]
import pytest

from rayraft.demo.http import free_port
from serve.keys import ApiKey, key_digest, write_keys
from tests.ray.serve_store import make_store

START_S = 240


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("command") / "store")


def started(store, port, *options):
    """The process and the line that it printed once it was ready."""
    child = subprocess.Popen(
        [sys.executable, "-m", "serve", "run", "--store", store, "--port", str(port), *options],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    return child, child.stdout.readline()


def stopped(child):
    """Exit code after Ctrl-C."""
    child.send_signal(signal.SIGINT)
    try:
        return child.wait(timeout=60)
    finally:
        child.stdout.close()


def exposed_ports(pid):
    """Name of the process and port, for what listens off loopback in or below process `pid`."""
    loopback = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    found, listening = [], 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        for connection in process.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN:
                listening += 1
                if connection.laddr.ip not in loopback:
                    found.append((process.cmdline()[0], connection.laddr.port))
    assert listening, "at least the HTTP proxy listens"
    return found


def refused_without_token(port):
    """Whether the replica's gRPC server, which unpickles requests, turns a stranger away."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=30)
    return refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_serves_the_shipped_model_and_ctrl_c_frees_the_port_and_ends_every_process(store, tmp_path):
    port = free_port()
    keys = tmp_path / "keys.yaml"
    write_keys(str(keys), [ApiKey(name="k", sha256=key_digest("secret"))])
    # Serve would end each of these requests at once if its proxy believed the header.
    headers = {"Authorization": "Bearer secret", "x-request-timeout-seconds": "0.001"}
    child, line = started(store, port, "--keys", str(keys))
    try:
        url = f"http://127.0.0.1:{port}"
        assert url in line and "kb version" in line, line
        with httpx2.Client(base_url=url, timeout=START_S, headers=headers) as http:
            stranger = http.get("/v1/models", headers={"Authorization": "Bearer no"})
            assert stranger.status_code == 401
            body = {
                "model": "rayraft/rag",
                "messages": [{"role": "user", "content": "How much annual leave is there?"}],
            }
            whole = http.post("/v1/chat/completions", json=body)
            assert whole.status_code == 200, whole.text
            reply = whole.json()
            assert reply["usage"]["prompt_tokens"] > 20
            streamed = http.post("/v1/chat/completions", json={**body, "stream": True})
            assert streamed.text.endswith("data: [DONE]\n\n")
        # Ray 2.60 binds the servers between replicas to all interfaces, whatever is set.
        for name, open_port in exposed_ports(child.pid):
            assert name.startswith("ray::ServeReplica"), name
            assert refused_without_token(open_port), (name, open_port)
        below = psutil.Process(child.pid).children(recursive=True)
    finally:
        code = stopped(child)
    assert code == 0
    deadline = time.monotonic() + 30
    while any(process.is_running() for process in below):
        assert time.monotonic() < deadline, "processes outlived the service"
        time.sleep(0.2)
    with socket.socket() as again:  # as the next service binds it
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_ask_answers_from_a_store_in_process(store):
    question, options = "How much annual leave is there?", ["--mode", "rag", "--explain"]
    done = subprocess.run(
        [sys.executable, "-m", "serve", "ask", question, "--store", store, *options],
        capture_output=True,
        text=True,
        timeout=START_S,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "leave.md" in done.stdout and "retrieve" in done.stdout
