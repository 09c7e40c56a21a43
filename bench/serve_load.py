"""Requests per second over HTTP at 1, 8 and 32 clients: search, and answers from what is found.

Ours is `rayraft serve` with its defaults; the peers are Haystack's hybrid pipeline in Hayhooks and
LlamaIndex's fusion retriever behind FastAPI, each with the same chunks, vectors, embedder and
reader (`bench/peers/`). One server at a time, warmed up at each load for so long that ours has
started the replicas that it takes.

`STORE=<store> QUESTIONS=<file> PEER_PYTHON=<interpreter with haystack-ai, hayhooks, llama-index>`;
`ONLY=ours`, `KINDS=search` or `chat`; `SETTINGS` (with spaces between) reach our server.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from bench.clients import answer_all
from bench.harness import FULL, report
from bench.servers import Server, ours, peers, running
from rayraft.questions import read_questions

CLIENTS = tuple(int(n) for n in os.environ.get("CLIENTS", "1,8,32").split(","))
KINDS = os.environ.get("KINDS", "search,chat").split(",")
REQUESTS = {"search": 600, "chat": 96} if FULL else {"search": 200, "chat": 48}
WARM_UP = {"search": 20, "chat": 0}  # at least so many, and two a client
K, WARM_UP_S = 4, 25.0


@dataclass(frozen=True)
class Outcome:
    """What all clients together got."""

    per_s: float
    p50_ms: float
    p95_ms: float


Call = Callable[[str], Awaitable[object]]


async def drive(call: Call, work: Sequence[str], n: int) -> Outcome:
    """All questions by `n` clients, each of which asks its next once the last is answered."""

    async def timed(question: str) -> float:
        began = time.perf_counter()
        await call(question)
        return 1000 * (time.perf_counter() - began)

    times, seconds = await answer_all(timed, work, n)
    p95 = sorted(times)[int(0.95 * len(times))]
    return Outcome(len(work) / seconds, statistics.median(times), p95)


def http_client(url: str) -> httpx2.AsyncClient:
    """With as many connections as there are clients."""
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    return httpx2.AsyncClient(base_url=url, timeout=300, limits=limits, trust_env=False)


async def post(client: httpx2.AsyncClient, path: str, body: Mapping[str, Any]) -> None:
    """One request; ends the bench if it fails."""
    response = await client.post(path, json=body)
    if response.status_code != 200:
        raise SystemExit(f"{path}: {response.status_code} {response.text[:500]}")


async def at_each_load(
    kind: str, call: Call, questions: Sequence[str], warm_up_s: float = WARM_UP_S
) -> dict[int, Outcome]:
    """By number of clients, after so long that replicas have been added to it."""
    found = {}
    work = (list(questions) * REQUESTS[kind])[: REQUESTS[kind]]
    for clients in CLIENTS:
        began = time.perf_counter()
        while time.perf_counter() - began < warm_up_s:
            await drive(call, work[: max(WARM_UP[kind], 2 * clients)], clients)
        found[clients] = await drive(call, work, clients)
        print(f"{kind}, {clients} clients: {found[clients]}", file=sys.stderr)
    return found


def report_outcomes(
    name: str, work: str, unit: str, outcomes: Mapping[str, Outcome], packages: list[str]
) -> None:
    """One table and result file of all contenders under one load, ours first."""
    report(
        name,
        work,
        unit,
        {who: [outcome.per_s] for who, outcome in outcomes.items()},
        packages,
        more_is_better=True,
        notes={who: vars(outcome) for who, outcome in outcomes.items()},
    )


async def measure(server: Server, url: str, questions: Sequence[str]) -> dict[str, Outcome]:
    """Each kind of request at each number of clients."""
    async with http_client(url) as client:

        async def search(question: str) -> None:
            await post(client, server.search, {"query": question, "k": K})

        async def chat(question: str) -> None:
            messages = [{"role": "user", "content": question}]
            body = {"model": server.model, "messages": messages}
            await post(client, "/v1/chat/completions", body)

        return {
            f"{kind}_{clients}": outcome
            for kind, call in (("search", search), ("chat", chat))
            if kind in KINDS
            for clients, outcome in (await at_each_load(kind, call, questions)).items()
        }


def main() -> None:
    """Runs the bench."""
    store, file = os.environ["STORE"], os.environ["QUESTIONS"]
    questions = [question.question for question in read_questions(file, limit=200)]
    outcomes: dict[str, dict[str, Outcome]] = {}
    with tempfile.TemporaryDirectory() as name:

        def add(who: str, server: Server) -> None:
            print(who, file=sys.stderr)
            with running(server, Path(name)) as url:
                outcomes[who] = asyncio.run(measure(server, url, questions))

        add("rayraft", ours(store, *os.environ.get("SETTINGS", "").split()))
        if os.environ.get("ONLY") != "ours":
            for who, server in peers(store):
                add(who, server)
    if len(outcomes) == 1:
        return
    for kind in outcomes["rayraft"]:
        what, clients = kind.split("_")
        report_outcomes(
            f"serve_{kind}",
            f"{REQUESTS[what]} requests of {what} over HTTP, {clients} clients, the chunks of "
            f"{Path(store).name}",
            "requests/s",
            {who: found[kind] for who, found in outcomes.items()},
            ["ray", "torch", "transformers"],
        )


if __name__ == "__main__":
    main()
