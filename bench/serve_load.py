"""The service under load, against Haystack behind Hayhooks and LlamaIndex behind FastAPI.

Searches (BM25 and MiniLM, 50 candidates each, fused by reciprocal rank, the best 10) and answers
from 4 passages, by 1, 8 and 32 clients that ask one question after the other. All have the same
chunks, weights, prompts and two cores; each server runs alone. The peers need an environment of
their own (`make bench-peers`), whose interpreter is named by RAYRAFT_BENCH_PEERS.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.harness import FULL, report
from bench.service import Load, Post, child, example_store, free_port, load, shipped_service

PEERS = "RAYRAFT_BENCH_PEERS"
CLIENTS = (1, 8, 32)
RAYRAFT, HAYHOOKS, LLAMAINDEX = "rayraft", "Haystack + Hayhooks", "LlamaIndex + FastAPI"
HERE = Path(__file__).parent
ROOT = HERE.parent


def main() -> None:
    """Runs the bench."""
    for_s = 12.0 if FULL else 3.0
    python = os.environ.get(PEERS) or str(ROOT / ".venv-bench-peers/bin/python")
    if not Path(python).is_file():
        raise SystemExit(f"no interpreter {python}: `make bench-peers`, or name one in {PEERS}")
    measured: dict[tuple[str, int], dict[str, Load]] = {}
    with example_store() as store, tempfile.TemporaryDirectory() as folder:
        chunks = write_chunks(store, Path(folder))
        servers = {
            RAYRAFT: (lambda: shipped_service(store), Post.searches(), Post.chats()),
            HAYHOOKS: (
                lambda: hayhooks(python, chunks),
                Post.searches("/rag/run"),
                Post.chats(model="rag"),
            ),
            LLAMAINDEX: (lambda: llamaindex(python, chunks), Post.searches(), Post.chats()),
        }
        for name, (start, *posts) in servers.items():
            with start() as url:
                for what, post in zip(("search", "chat"), posts, strict=True):
                    for clients in CLIENTS:
                        done = load(url, post, clients, for_s)
                        measured.setdefault((what, clients), {})[name] = done
    for (what, clients), loads in measured.items():
        tell(what, clients, loads)


def tell(what: str, clients: int, loads: dict[str, Load]) -> None:
    """One table: requests a second, and how long requests took."""
    report(
        f"serve_load_{what}_{clients}",
        f"{what}, example corpus, {clients} clients",
        "requests/s",
        {name: done.windows for name, done in loads.items()},
        ["ray", "torch", "transformers"],
        more_is_better=True,
        notes={
            name: {"p50_ms": round(done.p50_ms, 1), "p95_ms": round(done.p95_ms, 1)}
            for name, done in loads.items()
        },
    )


def write_chunks(store: str, folder: Path) -> Path:
    """The store's chunks, for the peers."""
    from data_pipelines.kb import KnowledgeBase

    rows = KnowledgeBase.open(store).read_chunks(["chunk_id", "title", "text"]).to_pylist()
    path = folder / "chunks.jsonl"
    lines = (
        json.dumps({"id": row["chunk_id"], "title": row["title"], "text": row["text"]})
        for row in rows
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@contextmanager
def hayhooks(python: str, chunks: Path) -> Iterator[str]:
    """The URL of Haystack's server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(python).with_name("hayhooks")), "run", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--pipelines-dir", str(HERE / "load_peers/hayhooks")]
    with child([*command, "--without-tracing"], url, "/status/rag", **_env(chunks)):
        yield url


@contextmanager
def llamaindex(python: str, chunks: Path) -> Iterator[str]:
    """The URL of LlamaIndex's server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [python, "-m", "uvicorn", "bench.load_peers.llamaindex_app:api"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    with child(command, url, "/status", **_env(chunks)):
        yield url


def _env(chunks: Path) -> dict[str, str]:
    return {
        "RAYRAFT_BENCH_CHUNKS": str(chunks),
        "PYTHONPATH": str(ROOT),
        "HAYSTACK_TELEMETRY_ENABLED": "False",
    }


if __name__ == "__main__":
    main()
