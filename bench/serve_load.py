"""Requests per second over HTTP at 1, 8 and 32 clients: search, and answers from what is found.

Ours is `rayraft serve` with its defaults; the peers are Haystack's hybrid pipeline in Hayhooks and
LlamaIndex's fusion retriever behind FastAPI, each with the same chunks, vectors, embedder and
reader (`bench/peers/`). All servers stand at the same time and are asked by turns.

`STORE=<store> QUESTIONS=<file> PEER_PYTHON=<interpreter with haystack-ai, hayhooks, llama-index>`;
`KINDS=search` or `chat`, `CLIENTS=8`; `SETTINGS` (with spaces between) reach our server.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

from bench.request_load import (
    REQUESTS,
    Call,
    K,
    Outcome,
    by_turns,
    open_clients,
    post,
    report_outcomes,
)
from bench.servers import Server, ours, peers, running
from rayraft.questions import read_questions

KINDS = os.environ.get("KINDS", "search,chat").split(",")
Outcomes = dict[int, dict[str, list[Outcome]]]


def asking(kind: str, server: Server, client: Any) -> Call:
    """One request of this kind."""

    async def search(question: str) -> None:
        await post(client, server.search, {"query": question, "k": K})

    async def chat(question: str) -> None:
        messages = [{"role": "user", "content": question}]
        await post(client, "/v1/chat/completions", {"model": server.model, "messages": messages})

    return {"search": search, "chat": chat}[kind]


async def measure(
    servers: Mapping[str, Server], urls: Mapping[str, str], questions: Sequence[str]
) -> dict[str, Outcomes]:
    """Each kind of request at each number of clients."""
    async with AsyncExitStack() as stack:
        clients = await open_clients(stack, urls)
        found = {}
        for kind in KINDS:
            calls = {who: asking(kind, servers[who], clients[who]) for who in servers}
            found[kind] = await by_turns(kind, calls, questions)
    return found


def main() -> None:
    """Runs the bench."""
    store, file = os.environ["STORE"], os.environ["QUESTIONS"]
    questions = [question.question for question in read_questions(file, limit=200)]
    servers = {"rayraft": ours(store, *os.environ.get("SETTINGS", "").split())}
    if "PEER_PYTHON" not in os.environ:
        raise SystemExit("error: PEER_PYTHON must name an interpreter with the peers")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        servers |= stack.enter_context(peers(store))
        urls = {}
        for who, server in servers.items():
            print(f"starting {who}", file=sys.stderr)
            urls[who] = stack.enter_context(running(server, Path(name)))
        outcomes = asyncio.run(measure(servers, urls, questions))
    for kind, loads in outcomes.items():
        for clients, found in loads.items():
            report_outcomes(
                f"serve_{kind}_{clients}",
                f"{REQUESTS[kind]} requests of {kind} over HTTP in a round, {clients} clients, the "
                f"chunks of {Path(store).name}",
                "requests/s",
                found,
                ["ray", "torch", "transformers"],
            )


if __name__ == "__main__":
    main()
