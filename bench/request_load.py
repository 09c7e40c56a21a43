"""Clients that send requests without pause, to several services by turns, and what they got."""

import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx2

from bench.clients import answer_all
from bench.harness import FULL, report

CLIENTS = tuple(int(n) for n in os.environ.get("CLIENTS", "1,8,32").split(","))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
REQUESTS = {"search": 600, "chat": 96} if FULL else {"search": 200, "chat": 48}
"""Of a contender in a round."""
WARM_UP_S = 25.0
"""So long that a service has started the replicas that it takes."""
K = 4

Call = Callable[[str], Awaitable[object]]


@dataclass(frozen=True)
class Outcome:
    """What all clients together got in one round."""

    per_s: float
    p50_ms: float
    p95_ms: float


async def drive(call: Call, work: Sequence[str], n: int) -> Outcome:
    """All questions by `n` clients, each of which asks its next once the last is answered."""

    async def timed(question: str) -> float:
        began = time.perf_counter()
        await call(question)
        return 1000 * (time.perf_counter() - began)

    times, seconds = await answer_all(timed, work, n)
    p95 = sorted(times)[int(0.95 * len(times))]
    return Outcome(len(work) / seconds, statistics.median(times), p95)


async def by_turns(
    kind: str, calls: Mapping[str, Call], questions: Sequence[str]
) -> dict[int, dict[str, list[Outcome]]]:
    """By number of clients and contender the outcome of each round, after a warm-up.

    In turn, so that a machine that slows down slows all of them; the others stand idle.
    """
    found: dict[int, dict[str, list[Outcome]]] = {}
    work = (list(questions) * REQUESTS[kind])[: REQUESTS[kind]]
    for clients in CLIENTS:
        for call in calls.values():
            began = time.perf_counter()
            while time.perf_counter() - began < WARM_UP_S:
                await drive(call, work[: max(20, 2 * clients)], clients)
        found[clients] = {who: [] for who in calls}
        for number in range(1, ROUNDS + 1):
            for who, call in calls.items():
                outcome = await drive(call, work, clients)
                found[clients][who].append(outcome)
                of = f"round {number}/{ROUNDS} {who}"
                print(f"{kind}, {clients} clients, {of}: {outcome}", file=sys.stderr)
    return found


def report_outcomes(
    name: str, work: str, unit: str, found: Mapping[str, Sequence[Outcome]], packages: list[str]
) -> None:
    """One table and result file of all contenders under one load, ours first."""
    report(
        name,
        work,
        unit,
        {who: [outcome.per_s for outcome in outcomes] for who, outcomes in found.items()},
        packages,
        more_is_better=True,
        notes={who: _times(outcomes) for who, outcomes in found.items()},
    )


def _times(outcomes: Sequence[Outcome]) -> dict[str, float]:
    return {
        "p50_ms": statistics.median(outcome.p50_ms for outcome in outcomes),
        "p95_ms": statistics.median(outcome.p95_ms for outcome in outcomes),
    }


def http_client(url: str) -> httpx2.AsyncClient:
    """With as many connections as there are clients."""
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    return httpx2.AsyncClient(base_url=url, timeout=300, limits=limits, trust_env=False)


async def open_clients(stack: AsyncExitStack, urls: Mapping[str, str]) -> dict[str, Any]:
    """A client of each service, for as long as the stack is open."""
    return {who: await stack.enter_async_context(http_client(url)) for who, url in urls.items()}


async def post(client: httpx2.AsyncClient, path: str, body: Mapping[str, Any]) -> None:
    """One request; ends the bench if it fails."""
    response = await client.post(path, json=body)
    if response.status_code != 200:
        raise SystemExit(f"{path}: {response.status_code} {response.text[:500]}")
