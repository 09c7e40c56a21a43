"""What the benches of the service share: a store, a running service, clients that keep it busy."""

import asyncio
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from bench.corpus import CORPUS, example_questions

START_S = 120
KEY = "rayraft-bench"
"""Sent with every request; the service asks for it only where it has keys."""
HEADERS = {"Authorization": f"Bearer {KEY}"}
QUIET = {"log_level": "WARNING", "enable_access_log": False}


@dataclass(frozen=True)
class Post:
    """One kind of request."""

    path: str
    bodies: Sequence[Mapping[str, Any]]
    """Sent in turn."""

    @classmethod
    def searches(cls, path: str = "/v1/search", k: int = 10) -> "Post":
        """The questions of the example corpus as searches."""
        return cls(path, [{"query": q.question, "k": k} for q in example_questions()])

    @classmethod
    def chats(cls, path: str = "/v1/chat/completions", model: str = "rayraft/rag") -> "Post":
        """The same as chat requests."""
        return cls(path, [chat_body(q.question, model) for q in example_questions()])


def chat_body(question: str, model: str = "rayraft/rag") -> dict[str, Any]:
    """An OpenAI chat request."""
    return {"model": model, "messages": [{"role": "user", "content": question}]}


@dataclass(frozen=True)
class Load:
    """What clients saw that sent one request after the other."""

    seconds: list[float]
    """Of each request."""
    windows: list[float]
    """Requests a second in each third of the time."""

    @property
    def p50_ms(self) -> float:
        """The median time of a request."""
        return 1000 * statistics.median(self.seconds)

    @property
    def p95_ms(self) -> float:
        """So long or less took 95% of the requests."""
        return 1000 * sorted(self.seconds)[int(0.95 * len(self.seconds))]


def load(url: str, post: Post, clients: int, for_s: float) -> Load:
    """Keeps `clients` requests going for a time, after a request each to warm up.

    Raises:
        SystemExit: A request was not answered with 200.
    """
    return asyncio.run(_load(url, post, clients, for_s))


async def _load(url: str, post: Post, clients: int, for_s: float) -> Load:
    bodies = itertools.cycle(post.bodies)
    ended: list[tuple[float, float]] = []
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx2.AsyncClient(
        base_url=url, timeout=120, trust_env=False, limits=limits, headers=HEADERS
    ) as http:

        async def ask() -> None:
            began = time.perf_counter()
            reply = await http.post(post.path, json=next(bodies))
            if reply.status_code != 200:
                raise SystemExit(f"{url}{post.path}: {reply.status_code} {reply.text[:300]}")
            ended.append((time.perf_counter(), time.perf_counter() - began))

        await asyncio.gather(*(ask() for _ in range(clients)))
        ended.clear()
        start = time.perf_counter()

        async def keep_asking() -> None:
            while time.perf_counter() - start < for_s:
                await ask()

        await asyncio.gather(*(keep_asking() for _ in range(clients)))
    thirds = [0, 0, 0]
    for at, _ in ended:
        thirds[min(2, int(3 * (at - start) / for_s))] += 1
    return Load([took for _, took in ended], [count * 3 / for_s for count in thirds])


@contextmanager
def example_store() -> Iterator[str]:
    """A store of the example corpus, for as long as the block."""
    from data_pipelines.config import IngestConfig
    from data_pipelines.ingest_job import run_ingest

    with tempfile.TemporaryDirectory(prefix="rr-bench-") as folder:
        store = str(Path(folder) / "store")
        run_ingest([str(CORPUS / "documents")], store, IngestConfig())
        yield store


@contextmanager
def child(command: Sequence[str], url: str, ready: str, **env: str) -> Iterator[None]:
    """A server in a process of its own, from its first good answer at `ready` on.

    Raises:
        SystemExit: It ended, or did not answer within two minutes.
    """
    log = tempfile.TemporaryFile()  # noqa: SIM115  # read once the process has ended
    process = subprocess.Popen(
        command, env={**os.environ, **env}, stdout=log, stderr=log, start_new_session=True
    )
    try:
        _wait(lambda: process.poll() is None, f"{url}{ready}")
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        log.seek(0)
        sys.stderr.write(log.read().decode(errors="replace")[-2000:])


def _wait(alive: Callable[[], bool], url: str) -> None:
    deadline = time.monotonic() + START_S
    while alive() and time.monotonic() < deadline:
        try:
            got = httpx2.get(url, timeout=30, trust_env=False, headers=HEADERS)
            if got.status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.5)
    raise SystemExit(f"{url} does not answer")


@contextmanager
def keys_file() -> Iterator[str]:
    """A file with the key that the clients send, for as long as the block."""
    from serve.keys import ApiKey, key_digest, write_keys

    with tempfile.TemporaryDirectory(prefix="rr-bench-") as folder:
        path = str(Path(folder) / "keys.yaml")
        write_keys(path, [ApiKey(name="bench", sha256=key_digest(KEY))])
        yield path


@contextmanager
def shipped_service(store: str, *overrides: str, **env: str) -> Iterator[str]:
    """The URL of a service that the shipped command runs with the shipped settings."""
    port = free_port()
    command = [sys.executable, "-m", "serve", "run", "--store", store, "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with child([*command, *overrides], url, "/readyz", **env):
        yield url


@contextmanager
def own_ray() -> Iterator[None]:
    """A Ray in this process as the shipped command starts it, for services that are looked into."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    from data_pipelines.ray_session import start_ray

    start_ray(namespace="serve")
    try:
        yield
    finally:
        import ray.serve

        ray.serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


@contextmanager
def own_service(app: Any) -> Iterator[str]:
    """The URL of an application on `own_ray`; one at a time."""
    import logging

    import ray.serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    port = free_port()
    http = {"host": "127.0.0.1", "port": port}
    ray.serve.start(proxy_location="HeadOnly", http_options=http, logging_config=QUIET)
    ray.serve.run(app, name="rayraft", route_prefix="/", logging_config=QUIET)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(lambda: True, f"{url}/readyz")
        yield url
    finally:
        ray.serve.shutdown()  # type: ignore[no-untyped-call]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_line(file: Path, value: Any) -> None:
    """Appends a line of JSON in one write, which processes may do at the same time."""
    with file.open("ab") as stream:
        stream.write(json.dumps(value).encode() + b"\n")


def read_lines(file: Path) -> list[Any]:
    """The lines written so far."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
