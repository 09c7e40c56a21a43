"""Hybrid search at 1, 8 and 32 clients: ours through Ray Serve, Haystack's pipeline in a process.

Ours is `rayraft serve` with its defaults, asked over HTTP; Haystack's in-memory pipeline with the
same chunks, vectors and embedder is called from as many threads, without HTTP.
`STORE=<store> QUESTIONS=<file>`; `SETTINGS` (with spaces between) reach our server.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import torch

from bench.peers.haystack_hybrid import HaystackHybrid
from bench.serve_load import (
    REQUESTS,
    K,
    Outcome,
    at_each_load,
    http_client,
    post,
    report_outcomes,
)
from bench.servers import ours, running
from data_pipelines.kb import KnowledgeBase
from data_pipelines.schema import vector_matrix
from rayraft.questions import read_questions

THREADS = (1, 2)  # of torch in Haystack's process: the better of both counts


async def _served(url: str, questions: list[str]) -> dict[int, Outcome]:
    async with http_client(url) as client:

        async def search(question: str) -> None:
            await post(client, "/v1/search", {"query": question, "k": K})

        return await at_each_load("search", search, questions)


def _in_process(store: str, questions: list[str]) -> dict[int, Outcome]:
    table = KnowledgeBase.open(store).read_chunks(
        ["chunk_id", "document_id", "title", "text", "embedding"]
    )
    rows = table.drop_columns("embedding").to_pylist()
    hybrid = HaystackHybrid(rows, vector_matrix(table["embedding"]))

    async def call(question: str) -> None:
        await asyncio.to_thread(hybrid.search, question)

    best: dict[int, Outcome] = {}
    for threads in THREADS:
        torch.set_num_threads(threads)
        found = asyncio.run(at_each_load("search", call, questions, warm_up_s=1))
        best = {n: max(one, best.get(n, one), key=lambda o: o.per_s) for n, one in found.items()}
    return best


def main() -> None:
    """Runs the bench."""
    store = os.environ["STORE"]
    questions = [
        q.question for q in read_questions(os.environ["QUESTIONS"], limit=REQUESTS["search"])
    ]
    settings = os.environ.get("SETTINGS", "").split()
    with tempfile.TemporaryDirectory() as name, running(ours(store, *settings), Path(name)) as url:
        outcomes = {"rayraft serve over HTTP": asyncio.run(_served(url, questions))}
    print("haystack", file=sys.stderr)
    outcomes["haystack, in process"] = _in_process(store, questions)
    for clients in next(iter(outcomes.values())):
        report_outcomes(
            f"hybrid_serve_{clients}",
            f"{REQUESTS['search']} searches, {clients} clients, the chunks of {Path(store).name}",
            "searches/s",
            {who: found[clients] for who, found in outcomes.items()},
            ["ray", "torch", "haystack-ai"],
        )


if __name__ == "__main__":
    main()
