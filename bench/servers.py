"""HTTP servers of a bench: started one at a time, waited for, ended."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from data_pipelines.kb import KnowledgeBase
from data_pipelines.schema import vector_matrix
from rayraft.demo.http import free_port

START_S = 900
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Server:
    """How one is started, and where it takes what."""

    command: Sequence[str]
    """`{port}` stands for the port."""
    search: str
    """Path that takes `{"query", "k"}`."""
    ready: str
    """Path that answers 200 when it is ready."""
    model: str
    """As /v1/chat/completions is told."""
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def running(server: Server, folder: Path) -> Iterator[str]:
    """The server's URL, for as long as the block runs; its output goes to a file in `folder`."""
    # A bench that is ended must not leave its server behind, which would slow what comes next.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    port = free_port()
    command = [part.replace("{port}", str(port)) for part in server.command]
    with (folder / f"server-{port}.log").open("wb") as log:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(server.environment),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url + server.ready, child, Path(log.name))
            yield url
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _wait(url: str, child: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and child.poll() is None:
        try:
            if httpx2.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.5)
    end = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise SystemExit(f"{url}: not ready: {end}")


def ours(store: str, *settings: str, environment: Mapping[str, str] | None = None) -> Server:
    """`rayraft serve` with its defaults, but for these settings."""
    command = [sys.executable, "-m", "serve", "run", "--store", store, "--port", "{port}"]
    return Server([*command, *settings], "/v1/search", "/readyz", "rayraft/rag", environment or {})


@contextmanager
def peers(store: str) -> Iterator[dict[str, Server]]:
    """The peers that the interpreter `PEER_PYTHON` has, with the store's chunks and vectors."""
    python = os.environ["PEER_PYTHON"]
    with tempfile.TemporaryDirectory() as name:
        _hand_over(store, Path(name))
        given = {"PEER_FOLDER": name, "HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "0"}
        hayhooks = [str(Path(python).parent / "hayhooks"), "run", "--port", "{port}"]
        hayhooks += ["--pipelines-dir", str(ROOT / "bench/peers/hayhooks_pipelines")]
        uvicorn = [python, "-m", "uvicorn", "bench.peers.llamaindex_app:app", "--port", "{port}"]
        uvicorn += ["--log-level", "warning"]
        yield {
            "haystack + hayhooks": Server(hayhooks, "/hybrid/run", "/status", "hybrid", given),
            "llamaindex + fastapi": Server(uvicorn, "/v1/search", "/docs", "rag", given),
        }


def _hand_over(store: str, folder: Path) -> None:
    names = ["chunk_id", "document_id", "title", "text"]
    table = KnowledgeBase.open(store).read_chunks([*names, "embedding"])
    np.save(folder / "vectors.npy", vector_matrix(table["embedding"]))
    rows: list[dict[str, Any]] = table.select(names).to_pylist()
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "chunks.jsonl").write_text("".join(lines), encoding="utf-8")
