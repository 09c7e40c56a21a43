"""The examples of clients, run with the real packages against the API on a real port."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from rayraft.demo.http import free_port
from serve.keys import ApiKey, key_digest
from tests.ray.api_in_process import Api

CLIENTS = Path(__file__).parents[2] / "examples" / "clients"
PACKAGES = {
    "openai_client": ("openai", "embedded: 4 numbers"),
    "langchain_client": ("langchain_openai", "found: d: The fee is 5 EUR."),
    "llamaindex_client": ("llama_index", "found: d: The fee is 5 EUR."),
}
OTHER_PYTHONS = {"llama_index": os.environ.get("RAYRAFT_LLAMAINDEX_PYTHON")}
"""LlamaIndex's OpenAI packages exclude the openai version used here: it has its own environment."""


@pytest.fixture(scope="module")
def url():
    api = Api(keys=[ApiKey(name="k", sha256=key_digest("secret"))])
    port = free_port()
    config = uvicorn.Config(api.app, host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)


def run(python, name, url, key):
    return subprocess.run(
        [python, str(CLIENTS / f"{name}.py"), "What is the fee?"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "RAYRAFT_URL": url, "RAYRAFT_API_KEY": key, "NO_PROXY": "*"},
    )


def test_every_example_is_tried():
    assert {path.stem for path in CLIENTS.glob("*.py")} == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_client_asks_streams_and_searches(name, url):
    package, last = PACKAGES[name]
    python = OTHER_PYTHONS.get(package) or sys.executable
    if python == sys.executable and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install -e '.[clients]'")
    done = run(python, name, url, "secret")
    assert done.returncode == 0, done.stderr
    assert "answer: 5 EUR" in done.stdout and "streamed: 5 EUR" in done.stdout
    assert last in done.stdout
