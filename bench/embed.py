"""Bulk embedding: ours, committed to a store, against sentence-transformers, the same weights.

Both get the same texts and cut them to the same number of tokens; tokenising is part of the work,
and of ours so is the commit. The peers are its default (fp32), its bf16, and with `PEER_PYTHON`
(`bench/peers/int8.py`) its int8 back ends by ONNX Runtime and OpenVINO. The vectors of the float
ones must agree with ours (cosine at least 0.99 everywhere) or nothing is reported; int8's agreement
is reported.

Without `CORPUS=<file of id, title, text>` and `DOCUMENTS=<number>` it is the example corpus.
"""

import functools
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from bench.corpus import example_chunks
from bench.harness import FULL, in_turn, report
from bench.peers.int8 import BACK_ENDS, Apart
from data_pipelines.kb import KnowledgeBase
from data_pipelines.schema import chunk_row_table, embedded_text, vector_array
from rayraft.jsonl import read_objects
from rayraft.models.dtypes import AUTO, torch_dtype
from rayraft.models.embedder import Embedder
from rayraft.models.embedder_tokenizer import model_folder
from rayraft.records import Chunk, Document

THREADS = 2
PEER_BATCHES = (32, 128)


def corpus_texts() -> list[str]:
    """What is embedded of each passage."""
    if "CORPUS" not in os.environ:
        return [chunk.text for chunk in example_chunks()] * (4 if FULL else 1)
    rows = read_objects(Path(os.environ["CORPUS"]), "corpus")
    wanted = int(os.environ.get("DOCUMENTS", 0)) or None
    return [embedded_text(row["title"], row["text"]) for _, row in islice(rows, wanted)]


def embed_and_commit(embedder: Embedder, texts: list[str]) -> None:
    """As an ingest writes them: one version of a new store."""
    vectors = embedder.embed(texts)
    documents = []
    for number, text in enumerate(texts):
        name = f"d{number}"
        chunk = Chunk(
            chunk_id=f"{name}#0", document_id=name, position=0, text=text, start=0, end=len(text)
        )
        documents.append((Document(document_id=name, text=text), name, [chunk]))
    rows = chunk_row_table(documents).append_column("embedding", vector_array(vectors))
    with tempfile.TemporaryDirectory() as store:
        KnowledgeBase.create_or_open(store, embedder.spec).commit(rows)


def float_peers(limit: int) -> Iterator[tuple[str, SentenceTransformer, tuple[int, ...]]]:
    """Name, model and batch sizes."""
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        path = str(model_folder("minilm"))
        peer = SentenceTransformer(path, device="cpu", model_kwargs={"dtype": dtype})
        peer.max_seq_length = limit
        yield name, peer, PEER_BATCHES if name == "fp32" else PEER_BATCHES[:1]


@contextmanager
def int8_peers(limit: int, texts: list[str], folder: Path) -> Iterator[dict[str, Apart]]:
    """Those that the interpreter `PEER_PYTHON` can make."""
    work = {"texts": texts, "model": str(model_folder("minilm")), "threads": THREADS}
    work |= {"max_tokens": limit, "batch_size": PEER_BATCHES[0]}
    python, made = os.environ.get("PEER_PYTHON"), {}
    for number, name in enumerate(BACK_ENDS):
        try:
            if python is None:
                raise RuntimeError("PEER_PYTHON names no interpreter")
            made[name] = Apart(name, python, folder / str(number), work)
        except RuntimeError as exc:
            print(f"{name}: left out: {' '.join(str(exc).split())[:200]}", flush=True)
    try:
        yield made
    finally:
        for peer in made.values():
            peer.close()


def matmul_peak(dtype: torch.dtype) -> float:
    """Floating point operations a second of a large matrix product, the best of ten."""
    a, b = torch.randn(4096, 1536).to(dtype), torch.randn(1536, 1536).to(dtype)
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - began)
    return 2 * 4096 * 1536 * 1536 / min(seconds)


def main() -> None:
    """Runs the bench."""
    ours = Embedder.load(threads=THREADS)
    texts = corpus_texts()
    limit = ours.spec.max_tokens
    lengths = np.minimum(ours.count_tokens(texts) + 2, limit)
    tokens = int(lengths.sum())
    # A weight of the six layers is multiplied and added once a token; attention by its length.
    operations = 2 * tokens * 6 * 12 * 384**2 + 6 * 4 * 384 * int((lengths.astype(int) ** 2).sum())
    dtype = torch_dtype(AUTO)
    runs: dict[str, Any] = {
        f"rayraft {str(dtype).removeprefix('torch.')}, with commit": functools.partial(
            embed_and_commit, ours, texts
        )
    }
    made, cosines = ours.embed(texts), {}

    def agreement(vectors: Any) -> float:
        return round(float((made * np.asarray(vectors, dtype=np.float32)).sum(1).min()), 4)

    for back_end, peer, sizes in float_peers(limit):
        cosines[back_end] = agreement(peer.encode(texts, normalize_embeddings=True))
        for size in sizes:
            runs[f"sentence-transformers {back_end}, batch {size}"] = functools.partial(
                peer.encode, texts, batch_size=size, normalize_embeddings=True
            )
    if min(cosines["fp32"], cosines["bf16"]) < 0.99:
        raise SystemExit(f"the vectors differ: {cosines}")
    with (
        tempfile.TemporaryDirectory() as name,
        int8_peers(limit, texts, Path(name)) as quantised,
    ):
        for back_end, other in quantised.items():
            cosines[back_end] = agreement(np.load(other.vectors_file))
            runs[f"sentence-transformers {back_end}, batch {PEER_BATCHES[0]}"] = other.encode
        seconds = in_turn(runs, rounds=5 if FULL else 3)
    best = min(next(iter(seconds.values())))
    report(
        "embed",
        f"{len(texts)} passages, {tokens} tokens, {THREADS} threads",
        "tokens/s",
        {name: [tokens / s for s in values] for name, values in seconds.items()},
        ["torch", "transformers", "sentence-transformers"],
        more_is_better=True,
        notes={
            "least cosine to ours": cosines,
            "share of this machine's matmul peak": round(operations / best / matmul_peak(dtype), 3),
        },
    )


if __name__ == "__main__":
    main()
