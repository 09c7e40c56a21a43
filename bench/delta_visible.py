"""How soon every retriever replica finds what was written: after each of 20 commits.

A store of `CHUNKS` made-up chunks (100,000; a million at the full size), whose vectors lie around
centres as those of texts do, is served by two replicas. A document is committed from another
process than theirs, and clients go on searching for it by HTTP: it is visible from the last search
on that was begun and did not find it.
No peer: what is compared are the first and the last replica, and the bar of one second.
`SETTINGS` (with spaces between) reach the server.
"""

import asyncio
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.harness import FULL, machine, write_result
from bench.request_load import http_client
from bench.servers import ours, running
from data_pipelines.config import RetrievalConfig
from data_pipelines.embedding import embed_chunks
from data_pipelines.index_keeper import IndexKeeper
from data_pipelines.kb import KnowledgeBase
from data_pipelines.schema import chunk_row_table, vector_array
from data_pipelines.sharding import ALL
from data_pipelines.vectors import FloatArray
from rayraft.models.embedder import Embedder
from rayraft.records import Chunk, Document

CHUNKS = int(os.environ.get("CHUNKS", 1_000_000 if FULL else 100_000))
BATCH, PER_DOCUMENT, DIM, CENTRES = 50_000, 10, 384, 10_000
WRITES, CLIENTS, WATCH_S = 20, 4, 2.5
SETTINGS = ("retriever.scale.min_replicas=2", "retriever.scale.max_replicas=2")
WORDS = tuple(
    f"{a}{b}{c}" for a in "bdfglmnprst" for b in "aeiou" for c in ("rn", "lt", "nd", "st")
)


def made_up(first: int, count: int, centres: FloatArray, rng: np.random.Generator) -> pa.Table:
    """Rows of documents of ten chunks of thirty words."""
    words = random.Random(first)
    documents = []
    for number in range(first, first + count, PER_DOCUMENT):
        name = f"doc{number}"
        chunks = [
            Chunk(
                chunk_id=f"{name}#{i}",
                document_id=name,
                position=i,
                text=" ".join(words.choices(WORDS, k=30)),
                start=0,
                end=1,
            )
            for i in range(PER_DOCUMENT)
        ]
        document = Document(document_id=name, title=name, text=" ")
        documents.append((document, f"{name}:bench", chunks))
    vectors = rng.standard_normal((count, DIM), dtype=np.float32)
    vectors += centres[rng.integers(0, len(centres), count)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return chunk_row_table(documents).append_column("embedding", vector_array(vectors))


def new_document(number: int, embedder: Embedder) -> tuple[pa.Table, str]:
    """One chunk, and the words that find it."""
    text = f"The new notice number {number} is about quxolate{number}."
    chunk = Chunk(
        chunk_id=f"new{number}#0",
        document_id=f"new{number}",
        position=0,
        text=text,
        start=0,
        end=len(text),
    )
    document = Document(document_id=f"new{number}", title="Notice", text=text)
    rows = chunk_row_table([(document, f"new{number}:bench", [chunk])])
    return embed_chunks(rows, embedder), text


async def watch(url: str, text: str, document_id: str, until: float) -> list[tuple[float, bool]]:
    """Of each search until then: when it began, and whether it found the document."""
    seen: list[tuple[float, bool]] = []

    async def client() -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            answer = await asked.post("/v1/search", json={"query": text, "k": 5})
            ids = [row["document_id"] for row in answer.raise_for_status().json()["data"]]
            seen.append((began, document_id in ids))

    async with http_client(url) as asked:
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return seen


async def measure(url: str, kb: KnowledgeBase, embedder: Embedder) -> list[float]:
    """Seconds from each commit to the beginning of the last search that missed it."""
    delays = []
    for number in range(WRITES):
        rows, text = new_document(number, embedder)
        watching = asyncio.create_task(
            watch(url, text, f"new{number}", time.perf_counter() + 2 * WATCH_S)
        )
        await asyncio.sleep(1)
        await asyncio.to_thread(kb.commit, rows)
        committed = time.perf_counter()
        seen = await watching
        if not seen[-1][1]:
            raise SystemExit(f"not visible {2 * WATCH_S - 1} s after the commit")
        missed = [began for began, found in seen if not found]
        delays.append(max(0.0, max(missed) - committed))
        print(f"write {number}: {delays[-1]:.3f} s, {len(seen)} searches", flush=True)
    return delays


def main() -> None:
    """Runs the bench."""
    embedder, rng = Embedder.load(threads=1), np.random.default_rng(0)
    centres = rng.standard_normal((CENTRES, DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as name:
        store = str(Path(name) / "store")
        kb = KnowledgeBase.create_or_open(store, embedder.spec)
        for first in range(0, CHUNKS, BATCH):
            kb.commit(made_up(first, min(BATCH, CHUNKS - first), centres, rng))
            print(f"{kb.count_chunks()} chunks", flush=True)
        kb.optimize()
        began = time.perf_counter()
        # What a service that has run for a while has built: replicas map it when they start.
        IndexKeeper(RetrievalConfig(), ALL).build(kb)
        print(f"index built in {time.perf_counter() - began:.0f} s", flush=True)
        settings = (*SETTINGS, *os.environ.get("SETTINGS", "").split())
        with running(ours(store, *settings), Path(name)) as url:
            delays = sorted(asyncio.run(measure(url, kb, embedder)))
    p50, p95 = statistics.median(delays), delays[int(0.95 * len(delays))]
    print(f"{CHUNKS} chunks, 2 replicas: visible after p50 {p50:.3f} s, p95 {p95:.3f} s")
    record = {
        "name": "delta_visible",
        "work": f"{WRITES} commits of a document to {CHUNKS} chunks, two replicas",
        "seconds": {"p50": p50, "p95": p95, "all": delays},
        "machine": machine(),
        "command": f"{'SIZE=full ' if FULL else ''}make bench NAME=delta_visible",
    }
    write_result(record)


if __name__ == "__main__":
    main()
