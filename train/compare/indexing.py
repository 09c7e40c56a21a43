"""What the index of an arm that reads passages costs, once: embedding, and opening it.

The store may have been made long ago and elsewhere, so its chunks are timed here: some of them are
embedded again by one thread, and the rest is counted up by the number of characters.
"""

import random
import time

from data_pipelines.embedders import open_embedder
from data_pipelines.kb import KnowledgeBase
from data_pipelines.open_retriever import open_retriever
from data_pipelines.raft_staging import Staging
from data_pipelines.schema import embedded_text
from rayraft.records import digest
from train.compare.measured import Indexed

MEASURED = "index"
"""Folder of a workspace."""
SAMPLE = 48
"""Chunks that are embedded again."""


def measure_index(workspace: str, kb: KnowledgeBase, seed: int = 0) -> Indexed:
    """The index of a knowledge base; measured once in a workspace.

    Args:
        workspace: Keeps what was measured.
        kb: Only read.
        seed: Of the sample.
    """
    key = digest([kb.version, kb.embedder.model_dump(), SAMPLE, seed])
    kept = Staging(workspace, "all", folder=MEASURED, id_name="key")
    if key not in (there := kept.rows()):
        there[key] = {"key": key, **_measured(kb, seed)}
        kept.add(there[key])
        kept.flush()
    values = there[key]
    return Indexed(values["chunks"], values["embed_seconds"], values["open_seconds"])


def _measured(kb: KnowledgeBase, seed: int) -> dict[str, float]:
    rows = kb.read_chunks(["title", "text"]).to_pylist()
    texts = [embedded_text(row["title"], row["text"]) for row in rows]
    chosen = random.Random(seed).sample(texts, min(SAMPLE, len(texts)))
    embedder = open_embedder(kb, threads=1)
    embedder.embed(chosen[:2])  # the first call allocates
    began = time.perf_counter()
    embedder.embed(chosen)
    share = (time.perf_counter() - began) / max(1, sum(map(len, chosen)))
    opening = time.perf_counter()
    open_retriever(kb, embedder=embedder)
    return {
        "chunks": len(texts),
        "embed_seconds": round(share * sum(map(len, texts)), 2),
        "open_seconds": round(time.perf_counter() - opening, 3),
    }
