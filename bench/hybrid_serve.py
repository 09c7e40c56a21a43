"""Hybrid search at 1, 8 and 32 clients: ours through Ray Serve, Haystack's pipeline in a process.

Ours is `rayraft serve` with its defaults, asked over HTTP; Haystack's in-memory pipeline with the
same chunks, vectors and embedder is called from as many threads, without HTTP, with one thread of
torch and with two. `STORE=<store> QUESTIONS=<file>`; `SETTINGS` (with spaces between) reach our
server.
"""

import asyncio
import os
import tempfile
from pathlib import Path

import torch

from bench.peers.haystack_hybrid import HaystackHybrid
from bench.request_load import (
    REQUESTS,
    Call,
    K,
    Outcome,
    by_turns,
    http_client,
    post,
    report_outcomes,
)
from bench.servers import ours, running
from data_pipelines.kb import KnowledgeBase
from data_pipelines.schema import vector_matrix
from rayraft.questions import read_questions

THREADS = (1, 2)
"""Of torch in Haystack's process."""


def in_process(store: str) -> dict[str, Call]:
    """Haystack's pipeline, with either number of threads."""
    table = KnowledgeBase.open(store).read_chunks(
        ["chunk_id", "document_id", "title", "text", "embedding"]
    )
    rows = table.drop_columns("embedding").to_pylist()
    hybrid = HaystackHybrid(rows, vector_matrix(table["embedding"]))

    def with_threads(threads: int) -> Call:
        def search(question: str) -> None:
            torch.set_num_threads(threads)  # of this thread
            hybrid.search(question)

        async def call(question: str) -> None:
            await asyncio.to_thread(search, question)

        return call

    return {f"haystack in process, {n} threads": with_threads(n) for n in THREADS}


async def measure(
    url: str, peers: dict[str, Call], questions: list[str]
) -> dict[int, dict[str, list[Outcome]]]:
    """Ours and the peers, by turns."""
    async with http_client(url) as client:

        async def search(question: str) -> None:
            await post(client, "/v1/search", {"query": question, "k": K})

        return await by_turns("search", {"rayraft serve over HTTP": search} | peers, questions)


def main() -> None:
    """Runs the bench."""
    store = os.environ["STORE"]
    questions = [
        q.question for q in read_questions(os.environ["QUESTIONS"], limit=REQUESTS["search"])
    ]
    settings = os.environ.get("SETTINGS", "").split()
    peers = in_process(store)
    with tempfile.TemporaryDirectory() as name, running(ours(store, *settings), Path(name)) as url:
        outcomes = asyncio.run(measure(url, peers, questions))
    for clients, found in outcomes.items():
        report_outcomes(
            f"hybrid_serve_{clients}",
            f"{REQUESTS['search']} searches in a round, {clients} clients, the chunks of "
            f"{Path(store).name}",
            "searches/s",
            found,
            ["ray", "torch", "haystack-ai"],
        )


if __name__ == "__main__":
    main()
